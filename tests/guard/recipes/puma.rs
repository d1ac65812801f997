//! `docs/recipes/puma.md`.

use super::{Page, Service};

#[test]
fn as_the_page_says() {
    let page = Page::open("puma.md");
    let mut service = Service::new("http", ("tcp://127.0.0.1:8000", "unix://"));
    service.sessions = 2;
    service.file("puma.rb", page.block("puma.rb"));
    service.shows_the_fault(page.block("plain"));
    service.is_guarded(page.block("preload"));
    service.is_guarded(page.block("run"));
    service.append("puma.rb", page.block("fix"));
    service.is_fixed(page.block("plain"));
}
