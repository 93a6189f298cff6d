"""Imports in a browser: from a file to its undo, and what is refused before it is sent."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage

pytestmark = pytest.mark.browser

IMPORT = "/admin/product/import"


def send(page: Page, path: Path) -> None:
    page.goto("/admin/product/list")
    page.get_by_role("link", name="Import", exact=True).click()
    page.get_by_label("File", exact=True).set_input_files(path)
    page.get_by_role("button", name="Send the file").dblclick()
    page.wait_for_url("**/admin/import/details/*")


def ended(page: Page) -> None:
    expect(page.locator("h1 .badge")).to_have_text("Finished", timeout=15_000)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_file_is_imported_and_taken_back(scripts: bool, open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("alice", java_script_enabled=scripts)
    names = [f"Import {'with' if scripts else 'without'} {number}" for number in range(3)]
    path = tmp_path / "shelves.csv"
    path.write_text(f"Article,Price\n{names[0]},1\n{names[1]},cheap\n{names[2]},3\n")
    send(page, path)
    expect(page.locator(".steps [aria-current]")).to_have_text("2Columns")
    page.get_by_label("Article").select_option("Name *")
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("button", name="Create 2 products")).to_be_visible(timeout=15_000)
    expect(page.locator(".steps [aria-current]")).to_have_text("3Check")
    with page.expect_download() as download:
        page.get_by_role("link", name="Refused rows as CSV").click()
    assert download.value.suggested_filename == "shelves-refused.csv"
    download.value.save_as(tmp_path / "again.csv")
    lines = (tmp_path / "again.csv").read_text("utf-8-sig").splitlines()
    assert lines[1].endswith(f"{names[1]},cheap")
    page.get_by_role("button", name="Create 2 products").dblclick()
    page.wait_for_url("**/admin/operation/details/*")
    ended(page)
    page.goto(f"/admin/product/list?search={names[0].rpartition(' ')[0]}")
    expect(page.locator("tbody .row-link")).to_have_count(2)
    page.go_back()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    ended(page)
    page.goto(f"/admin/product/list?search={names[0].rpartition(' ')[0]}")
    expect(page.locator("tbody .row-link")).to_have_count(0)


def test_what_cannot_be_imported_is_told_where_it_was_chosen(open_page: OpenPage, tmp_path: Path) -> None:
    page = open_page("alice")
    page.goto(IMPORT)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(200_000_001)  # with nothing in it that takes room
    page.get_by_label("File", exact=True).set_input_files(huge)
    alert = page.get_by_role("alert")
    expect(alert).to_have_text("This file has more than 200 MB. Split it into smaller ones.")
    assert page.get_by_label("File", exact=True).evaluate("input => input.files.length") == 0
    assert sent == []
    wrong = tmp_path / "wrong.csv"
    wrong.write_bytes(b"%PDF-1.7 and so on")
    page.get_by_label("File", exact=True).set_input_files(wrong)
    page.get_by_role("button", name="Send the file").click()
    expect(alert).to_contain_text("This is a PDF.")
    expect(page.get_by_label("File", exact=True)).to_be_focused()
    expect(page.locator(".is-sending")).to_have_count(0)
