"""The history cannot be used: what happened, and what the person can do about it."""

from __future__ import annotations

import flet as ft

from lesionlens.app.components.blocks import Style, faint, words
from lesionlens.app.components.placeholders import nothing
from lesionlens.app.handling import calling
from lesionlens.app.screen import Screen
from lesionlens.app.session import Session
from lesionlens.app.theme import GAP, RADIUS

#: Where a new history can be begun; the others pass, or have to be mended outside the app.
_CAN_BEGIN_ANEW = ("damaged", "unusable")


def recovery_screen(session: Session) -> Screen:
    """Return what is wrong and the ways on; to be shown while ``state.trouble`` is set."""
    texts, keeping, trouble = session.texts, session.keeping, session.state.trouble
    assert trouble is not None  # shown only then
    can_begin_anew = trouble.kind in _CAN_BEGIN_ANEW
    again = ft.OutlinedButton(
        texts("common.retry"),
        icon=ft.Icons.REFRESH,
        on_click=calling(keeping.try_again),
    )
    buttons: list[ft.Control] = [again]
    if can_begin_anew:
        anew = ft.FilledButton(
            texts("history.begin_anew"),
            icon=ft.Icons.CREATE_NEW_FOLDER_OUTLINED,
            on_click=calling(keeping.begin_anew),
        )
        buttons = [anew, again]
    buttons.append(
        ft.TextButton(
            texts("history.go_on_without"),
            on_click=calling(keeping.go_on_without),
        )
    )
    text = texts(f"history.error_{trouble.kind}")
    if can_begin_anew:
        text += " " + texts("history.begin_anew_means")
    return Screen(
        texts("common.tab_history"),
        [
            nothing(ft.Icons.HEALING, texts("history.trouble_title"), text, buttons=buttons),
            ft.ExpansionTile(
                title=words(texts("history.technical"), Style.TITLE_SMALL),
                controls=[faint(trouble.details, Style.BODY_MEDIUM, selectable=True)],
                controls_padding=ft.Padding(GAP, 0, GAP, GAP),
                expanded_cross_axis_alignment=ft.CrossAxisAlignment.STRETCH,
                shape=ft.RoundedRectangleBorder(radius=RADIUS),
                collapsed_shape=ft.RoundedRectangleBorder(radius=RADIUS),
            ),
        ],
        has_navigation=False,
        can_go_back=False,
    )
