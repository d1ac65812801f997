//! `docs/recipes/containers.md`. There is no container engine here: what the page sets is read out
//! of it, and what it starts is run with that.

use super::{Page, Service};

#[test]
fn the_env_line_does_it() {
    let page = Page::open("containers.md");
    let service = Service::new("http", ("127.0.0.1:8000", "unix:"));
    let dockerfile = page.block("Dockerfile");
    let of = |instruction: &str| {
        let mut lines = dockerfile.lines();
        lines
            .find_map(|line| line.strip_prefix(instruction))
            .unwrap_or_else(|| panic!("no {instruction} in the Dockerfile"))
    };
    let list = of("CMD ").trim_matches(['[', ']']);
    let arguments: Vec<_> = list
        .split(", ")
        .map(|word| word.trim_matches('"'))
        .collect();
    let command = arguments.join(" ");
    service.shows_the_fault(&command);
    service.is_guarded(&format!("{} {command}", of("ENV ")));

    // `- name: NAME`, and on the next line `value: VALUE`.
    let mut variables = Vec::new();
    let mut lines = page.block("kubernetes").lines();
    while let Some(line) = lines.next() {
        if let (Some(name), Some(value)) = (
            line.trim().strip_prefix("- name: "),
            lines
                .clone()
                .next()
                .unwrap_or_default()
                .trim()
                .strip_prefix("value: "),
        ) {
            variables.push(format!("{name}={value}"));
        }
    }
    assert_eq!(variables.len(), 2, "{variables:?}");
    service.is_guarded(&format!("{} {command}", variables.join(" ")));
}
