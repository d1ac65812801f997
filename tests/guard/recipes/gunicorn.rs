//! `docs/recipes/gunicorn.md`.

use super::{Page, Service};

#[test]
fn as_the_page_says() {
    let page = Page::open("gunicorn.md");
    let service = Service::new("http", ("127.0.0.1:8000", "unix:"));
    service.shows_the_fault(page.block("plain"));
    service.is_guarded(page.block("preload"));
    service.is_guarded(page.block("run"));
    service.file("gunicorn.conf.py", page.block("fix"));
    service.is_fixed(page.block("plain"));
}
