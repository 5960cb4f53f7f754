// Pictures dropped on the page or pasted into it, posted to this session's door.
// Flutter's canvas sees neither; see app/door.py for the other side.
"use strict";

(() => {
  let frame = null;

  const showFrame = (shown) => {
    if (shown && !frame) {
      frame = document.createElement("div");
      frame.id = "door";
      document.body.append(frame);
    } else if (!shown && frame) {
      frame.remove();
      frame = null;
    }
  };

  const hasFiles = (transfer) => Boolean(transfer) && [...transfer.types].includes("Files");

  // The first picture; else the first file, so that the app can say why it is none.
  const pick = (transfer) => {
    const files = [...transfer.files];
    return files.find((file) => file.type.startsWith("image/")) ?? files[0];
  };

  const post = (file) => {
    const session = sessionStorage.getItem("_flet_session_id");
    if (!file || !session) return;
    // What goes wrong here the session is told by the server: there is nothing to show.
    fetch(`/door/${encodeURIComponent(session)}`, {
      method: "POST",
      body: file,
      headers: {
        "Content-Type": "application/octet-stream",
        "X-File-Name": encodeURIComponent(file.name),
      },
    }).catch((error) => console.warn("The picture was not taken in:", error));
  };

  // A browser opens a dropped file in place of the page unless both events are prevented.
  window.addEventListener("dragover", (event) => {
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    showFrame(true);
  }, true);

  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) showFrame(false); // out of the window, not from part to part
  }, true);

  window.addEventListener("drop", (event) => {
    showFrame(false);
    if (!hasFiles(event.dataTransfer)) return;
    event.preventDefault();
    post(pick(event.dataTransfer));
  }, true);

  window.addEventListener("paste", (event) => {
    const pasted = event.clipboardData;
    if (!hasFiles(pasted) || pasted.types.includes("text/plain")) return; // text is for a field
    event.preventDefault();
    post(pick(pasted));
  }, true);
})();
