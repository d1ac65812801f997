//! `docs/recipes/unicorn.md`.

use super::{Page, Service};

#[test]
fn as_the_page_says() {
    let page = Page::open("unicorn.md");
    let mut service = Service::new("http", ("127.0.0.1:8000", ""));
    service.sessions = 2;
    service.file("unicorn.rb", page.block("unicorn.rb"));
    service.shows_the_fault(page.block("plain"));
    service.is_guarded(page.block("preload"));
    service.is_guarded(page.block("run"));
    service.append("unicorn.rb", page.block("fix"));
    service.is_fixed(page.block("plain"));
}
