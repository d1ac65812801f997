//! Reads Rust sources as far as names lead from one file to another.
//!
//! Every path is resolved: `crate::…`, `super::…`, `use a::{b, c::d}`, names that a `use` brought in
//! (renamed or by `*`), modules within a file, re-exports, macros of `macro_rules`, and the other crates
//! of the workspace. What a module declares with `mod` is no use of it. Left out: what is compiled for
//! unit tests alone, methods (their type is named somewhere), and names that a macro pastes together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One file names something of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub from: String,
    pub to: String,
    /// The path as it is written, `super::` and all.
    pub name: String,
    pub line: usize,
}

type Id = usize;

/// A module: a file, or one within a file.
#[derive(Default)]
struct Module {
    file: String,
    parent: Option<Id>,
    /// By name: a name may stand for one file a processor.
    children: BTreeMap<String, Vec<Id>>,
    items: BTreeSet<String>,
    macros: BTreeSet<String>,
    /// A name in this module, and the paths that it stands for: one for each processor, say.
    imports: BTreeMap<String, Vec<Vec<String>>>,
    globs: Vec<Vec<String>>,
    paths: Vec<(Vec<String>, usize)>,
}

/// All modules of some crates.
#[derive(Default)]
pub struct Sources {
    modules: Vec<Module>,
    /// The root module of each crate, by its name in code.
    crates: BTreeMap<String, Id>,
    root: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Module(Id),
    Item(Id),
}

impl Sources {
    /// Reads the crate `name`, whose root is the file `path` below `root`, with all its modules.
    pub fn read(&mut self, root: &Path, name: &str, path: &str) {
        self.root = root.to_path_buf();
        let id = self.add(path.to_string(), None);
        self.crates.insert(name.to_string(), id);
        self.read_file(id, Path::new(path).parent().unwrap());
    }

    fn add(&mut self, file: String, parent: Option<Id>) -> Id {
        let module = Module {
            file,
            parent,
            ..Module::default()
        };
        self.modules.push(module);
        self.modules.len() - 1
    }

    fn add_child(&mut self, id: Id, name: &str, child: Id) {
        let children = self.modules[id].children.entry(name.to_string());
        children.or_default().push(child);
    }

    fn read_file(&mut self, id: Id, folder: &Path) {
        let file = self.root.join(&self.modules[id].file);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file:?}: {e}"));
        let tokens = tokens(&text);
        let end = self.read_module(id, folder, &tokens, 0);
        assert_eq!(end, tokens.len(), "{file:?}: braces do not match");
    }

    /// Reads from `at` to the end of the module; returns where that is.
    fn read_module(&mut self, id: Id, folder: &Path, tokens: &[Token], mut at: usize) -> usize {
        let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        let mut depth = 0;
        let mut named_file = None;
        while at < tokens.len() {
            match word(at) {
                "#" if word(at + 1) == "[" => {
                    let end = closing(tokens, at + 1);
                    let inside: Vec<_> = (at + 2..end).map(word).collect();
                    at = end + 1;
                    match &inside[..] {
                        ["cfg", "(", "test", ")"] => at = item_end(tokens, at),
                        ["path", "=", file] => {
                            named_file = Some(file.trim_matches('"').to_string())
                        }
                        _ => {}
                    }
                }
                "mod" if is_name(word(at + 1)) && word(at + 2) == ";" => {
                    let name = word(at + 1).to_string();
                    let usual = [format!("{name}.rs"), format!("{name}/mod.rs")];
                    let path = named_file
                        .take()
                        .into_iter()
                        .chain(usual)
                        .map(|file| folder.join(file))
                        .find(|path| self.root.join(path).is_file())
                        .unwrap_or_else(|| panic!("no module {name} in {folder:?}"));
                    let child = self.add(path.to_str().unwrap().to_string(), Some(id));
                    self.add_child(id, &name, child);
                    self.read_file(child, &folder.join(name));
                    at += 3;
                }
                "mod" if is_name(word(at + 1)) && word(at + 2) == "{" => {
                    let name = word(at + 1).to_string();
                    let child = self.add(self.modules[id].file.clone(), Some(id));
                    self.add_child(id, &name, child);
                    at = self.read_module(child, &folder.join(name), tokens, at + 3);
                }
                "use" => {
                    let line = tokens[at].line;
                    let mut leaves = Vec::new();
                    at = use_tree(tokens, at + 1, &[], &mut leaves) + 1;
                    for (path, name) in leaves {
                        let module = &mut self.modules[id];
                        match name.as_deref() {
                            Some("*") => module.globs.push(path.clone()),
                            Some("_") | None => {}
                            Some(name) => {
                                let paths = module.imports.entry(name.to_string());
                                paths.or_default().push(path.clone());
                            }
                        }
                        self.modules[id].paths.push((path, line));
                    }
                }
                "macro_rules" if word(at + 1) == "!" => {
                    let name = word(at + 2).to_string();
                    self.modules[id].macros.insert(name.clone());
                    self.modules[id].items.insert(name);
                    at += 3;
                }
                "fn" | "struct" | "enum" | "const" | "static" | "type" | "trait" | "union"
                    if depth == 0 && is_name(word(at + 1)) =>
                {
                    let mut name = at + 1;
                    while ["fn", "unsafe", "extern", "mut"].contains(&word(name)) {
                        name += 1;
                    }
                    self.modules[id].items.insert(word(name).to_string());
                    at = name + 1;
                }
                "{" => {
                    depth += 1;
                    at += 1;
                }
                "}" if depth == 0 => return at + 1,
                "}" => {
                    depth -= 1;
                    at += 1;
                }
                text if is_name(text) => {
                    let line = tokens[at].line;
                    let before = at.checked_sub(1).map_or("", word);
                    let is_global = before == "::";
                    let mut path = vec![text.to_string()];
                    at += 1;
                    while word(at) == "::" && is_name(word(at + 1)) {
                        path.push(word(at + 1).to_string());
                        at += 2;
                    }
                    // A field, a method, a lifetime's name or a macro's argument.
                    if !is_global && before != "." && !(before == "$" && text != "crate") {
                        self.modules[id].paths.push((path, line));
                    }
                }
                _ => at += 1,
            }
        }
        at
    }

    fn root_of(&self, mut id: Id) -> Id {
        while let Some(parent) = self.modules[id].parent {
            id = parent;
        }
        id
    }

    /// What `path` means in the module `id`; nothing for what is not of these crates.
    fn resolve(&self, id: Id, path: &[String], depth: usize) -> Vec<Found> {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        if depth > 16 {
            return Vec::new(); // a name that leads to itself
        }
        let mut here = match first.as_str() {
            "crate" => vec![Found::Module(self.root_of(id))],
            "self" => vec![Found::Module(id)],
            "super" => self.parent(id),
            name => self.look_up(id, name, depth),
        };
        if here.is_empty() && !rest.is_empty() {
            here.extend(self.crates.get(first).map(|id| Found::Module(*id)));
        }
        for next in rest {
            here = here
                .into_iter()
                .flat_map(|found| match (found, next.as_str()) {
                    (Found::Module(module), "super") => self.parent(module),
                    (Found::Module(module), name) => match self.look_up(module, name, depth) {
                        // A macro has made it, here.
                        found if found.is_empty() => vec![Found::Item(module)],
                        found => found,
                    },
                    (item, _) => vec![item],
                })
                .collect();
        }
        here
    }

    fn parent(&self, id: Id) -> Vec<Found> {
        let parent = self.modules[id].parent;
        parent.map(Found::Module).into_iter().collect()
    }

    /// What a single name means within a module.
    fn look_up(&self, id: Id, name: &str, depth: usize) -> Vec<Found> {
        let module = &self.modules[id];
        if let Some(children) = module.children.get(name) {
            return children.iter().copied().map(Found::Module).collect();
        }
        if module.items.contains(name) {
            return vec![Found::Item(id)];
        }
        let imports = module.imports.get(name).into_iter().flatten();
        let found: Vec<_> = imports
            .filter(|path| path.len() > 1 || path[0] != name)
            .flat_map(|path| self.resolve(id, path, depth + 1))
            .collect();
        if !found.is_empty() {
            return found;
        }
        let globs = module.globs.iter();
        globs
            .flat_map(|path| self.resolve(id, path, depth + 1))
            .flat_map(|found| match found {
                Found::Module(from) => self.look_up(from, name, depth + 1),
                Found::Item(_) => Vec::new(),
            })
            .collect()
    }

    /// A macro of an enclosing module, which is known without a path.
    fn look_up_macro(&self, id: Id, name: &str) -> Option<Found> {
        let parent = self.modules[id].parent?;
        if self.modules[parent].macros.contains(name) {
            return Some(Found::Item(parent));
        }
        self.look_up_macro(parent, name)
    }

    /// Every file, in the order of reading.
    pub fn files(&self) -> BTreeSet<String> {
        self.modules
            .iter()
            .map(|module| module.file.clone())
            .collect()
    }

    /// Which file uses what of which other file: each pair once, with the first name.
    pub fn uses(&self) -> Vec<Use> {
        let mut found: BTreeMap<(String, String), Use> = BTreeMap::new();
        for (id, module) in self.modules.iter().enumerate() {
            for (path, line) in &module.paths {
                let mut targets = self.resolve(id, path, 0);
                if targets.is_empty() && path.len() == 1 {
                    targets.extend(self.look_up_macro(id, &path[0]));
                }
                for target in targets {
                    // A module that is only brought in is used where a name of it is.
                    let Found::Item(target) = target else {
                        continue;
                    };
                    let to = self.modules[target].file.clone();
                    if to != module.file {
                        found
                            .entry((module.file.clone(), to.clone()))
                            .or_insert_with(|| Use {
                                from: module.file.clone(),
                                to,
                                name: path.join("::"),
                                line: *line,
                            });
                    }
                }
            }
        }
        found.into_values().collect()
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The leaves of a `use`, each a path and the name it is given; returns where its `;` stands.
fn use_tree(
    tokens: &[Token],
    mut at: usize,
    above: &[String],
    leaves: &mut Vec<(Vec<String>, Option<String>)>,
) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut path = above.to_vec();
    loop {
        match word(at) {
            "{" => {
                at += 1;
                while word(at) != "}" {
                    at = use_tree(tokens, at, &path, leaves);
                    if word(at) == "," {
                        at += 1;
                    }
                }
                return at + 1;
            }
            "*" => {
                leaves.push((path, Some("*".into())));
                return at + 1;
            }
            "::" | "$" => at += 1,
            "self" if !path.is_empty() => at += 1,
            name if is_name(name) && name != "as" => {
                path.push(name.to_string());
                at += 1;
            }
            "as" => {
                leaves.push((path, Some(word(at + 1).to_string())));
                return at + 2;
            }
            _ => {
                let name = path.last().cloned();
                leaves.push((path, name));
                return at;
            }
        }
    }
}

/// Where the bracket that opens at `at` is closed.
fn closing(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    panic!("line {}: nothing closes this", tokens[at].line)
}

/// Where the item that begins at `at` has ended.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    loop {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "{" => return closing(tokens, at) + 1,
            "(" | "[" => at = closing(tokens, at),
            _ => {}
        }
        at += 1;
    }
}

struct Token {
    text: String,
    line: usize,
}

/// Names, `::`, single signs and plain texts; no comments, no lifetimes.
fn tokens(source: &str) -> Vec<Token> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line, mut counted) = (0, 1, 0);
    while at < bytes.len() {
        line += source[counted..at].matches('\n').count();
        counted = at;
        let rest = &source[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = text_or_character(rest) {
            if rest.starts_with('"') {
                found.push(Token {
                    text: rest[..length].to_string(),
                    line,
                });
            }
            length
        } else {
            let first = rest.chars().next().unwrap();
            let length = if is_name(rest) || first.is_ascii_digit() {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            if !first.is_whitespace() {
                found.push(Token {
                    text: rest[..length].to_string(),
                    line,
                });
            }
            length
        };
        at += length;
    }
    found
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    loop {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
        } else {
            at += rest[at..].chars().next().unwrap().len_utf8();
        }
        if depth == 0 {
            return at;
        }
    }
}

/// How long the text, character or lifetime is that begins here.
fn text_or_character(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        let behind = &rest.as_bytes()[prefix.len().min(rest.len())..];
        let is_raw = prefix.ends_with('r');
        rest.starts_with(prefix)
            && (behind.first() == Some(&b'"')
                || is_raw && behind.starts_with(b"#") && {
                    let hashes = behind.iter().take_while(|byte| **byte == b'#').count();
                    behind.get(hashes) == Some(&b'"')
                }
                || (*prefix == "b" || prefix.is_empty()) && behind.first() == Some(&b'\''))
    })?;
    let behind = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = behind.find('"').unwrap();
        let end = format!("\"{}", "#".repeat(hashes));
        let length = behind[hashes + 1..].find(&end).unwrap();
        return Some(prefix.len() + hashes + 1 + length + end.len());
    }
    let quote = behind.chars().next().unwrap();
    if quote == '\'' && !behind.starts_with("'\\") {
        let second = behind[1..].chars().next()?;
        if !behind[1 + second.len_utf8()..].starts_with('\'') {
            // A lifetime.
            let length = behind[1..]
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(behind.len() - 1);
            return Some(1 + length);
        }
    }
    let mut at = 1;
    while !behind[at..].starts_with(quote) {
        let next = behind[at..].chars().next().unwrap();
        at += next.len_utf8();
        if next == '\\' {
            at += behind[at..].chars().next().unwrap().len_utf8();
        }
    }
    Some(prefix.len() + at + 1)
}
