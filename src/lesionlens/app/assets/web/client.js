// Settings of Flet's client, which reads them from `flet`; Flet's own page has them inline.
"use strict";

var flet = {
  pyodide: false, // Python runs in the server, not in the browser
  multiView: false,
  noCdn: true,
  webSocketEndpoint: "/ws",
  entrypointBaseUrl: "/",
  assetBase: "/",
  routeUrlStrategy: "path",
  webRenderer: "auto",
  canvasKitBaseUrl: "/canvaskit/",
  fontFallbackBaseUrl: "assets/fonts/",
};

flet.flutterAppLoaded = new Promise((resolve) => {
  flet.flutterAppResolve = resolve;
});

// Safari takes a page back from its memory with Flutter's frames stopped: only a reload helps,
// and the session is in the server, so nothing is lost. Other browsers need no help.
window.addEventListener("pageshow", (event) => {
  if (event.persisted && navigator.vendor.startsWith("Apple")) {
    window.location.reload();
  }
});
