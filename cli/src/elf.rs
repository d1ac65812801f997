//! What an ELF file says, without loading it.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Sym};
use object::{Endianness, ReadCache, ReadRef};

/// What the loader goes by.
#[derive(Default, Clone, Debug)]
pub struct Elf {
    /// Class and processor.
    pub target: Target,
    /// The loader it asks for; none in a static program and in most libraries.
    pub interpreter: Option<String>,
    /// Whether the loader has anything to do for it (a static-pie program has this, too).
    pub dynamic: bool,
    /// `DT_NEEDED`.
    pub needed: Vec<String>,
    /// Where those are looked for: `DT_RUNPATH`, or `DT_RPATH`.
    pub paths: Vec<String>,
    /// The versions it wants of libc (`GLIBC_2.34`).
    pub wants: Vec<String>,
    /// Those it has, if it is libc.
    pub has: Vec<String>,
    /// Whether a Go compiler made it.
    pub go: bool,
}

/// Class, byte order and processor: what must be the same in a program and its libraries.
#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    is_64: bool,
    is_big: bool,
    machine: u16,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match (self.machine, self.is_64) {
            (elf::EM_X86_64, true) => "x86-64",
            (elf::EM_X86_64, false) => "x32",
            (elf::EM_386, _) => "32-bit x86",
            (elf::EM_AARCH64, _) => "64-bit ARM",
            (elf::EM_ARM, _) => "32-bit ARM",
            (elf::EM_RISCV, _) => "RISC-V",
            (elf::EM_PPC64, _) if !self.is_big => "ppc64le",
            (elf::EM_S390, _) => "s390x",
            (machine, is_64) => {
                let bits = if is_64 { 64 } else { 32 };
                return write!(f, "{bits}-bit processor number {machine}");
            }
        })
    }
}

/// Whether a file begins as ELF does.
pub fn is_elf(head: &[u8]) -> bool {
    head.starts_with(&elf::ELFMAG)
}

/// Reads a file. Parts that are read are few, however large it is.
pub fn read(path: &Path) -> Result<Elf, String> {
    with(path, |data, is_64| {
        if is_64 {
            look::<elf::FileHeader64<Endianness>, _>(data)
        } else {
            look::<elf::FileHeader32<Endianness>, _>(data)
        }
    })
}

/// The functions a file exports.
pub fn exports(path: &Path) -> Result<HashSet<String>, String> {
    with(path, |data, is_64| {
        if is_64 {
            names::<elf::FileHeader64<Endianness>, _>(data, elf::SHT_DYNSYM)
        } else {
            names::<elf::FileHeader32<Endianness>, _>(data, elf::SHT_DYNSYM)
        }
    })
}

/// Whether libpq is in the file without its functions being exported: by its table of symbols, or,
/// where that was stripped, by an environment variable that only libpq reads
/// (src/interfaces/libpq/fe-connect.c, `PQconninfoOptions`).
pub fn has_hidden_libpq(path: &Path) -> bool {
    // A program of more is none we know; it would be read whole.
    const LARGEST: u64 = 256 << 20;
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut bytes = Vec::new();
    if file.take(LARGEST).read_to_end(&mut bytes).is_err() {
        return false;
    }
    const MARK: &[u8] = b"\0PGREQUIREPEER\0";
    // By a letter that is rare: windows() over hundreds of megabytes takes a second.
    const RARE: usize = 5;
    let mut begin = 0;
    while let Some(at) = bytes[begin..].iter().position(|byte| *byte == MARK[RARE]) {
        let at = begin + at;
        if at >= RARE && bytes[at - RARE..].starts_with(MARK) {
            return true;
        }
        begin = at + 1;
    }
    false
}

fn with<T>(
    path: &Path,
    look: impl FnOnce(&ReadCache<File>, bool) -> object::Result<T>,
) -> Result<T, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut head = [0; 20];
    file.read_exact(&mut head)
        .map_err(|_| "is no ELF file".to_owned())?;
    if !is_elf(&head) {
        return Err("is no ELF file".to_owned());
    }
    let is_64 = head[4] == elf::ELFCLASS64;
    look(&ReadCache::new(file), is_64).map_err(|error| format!("cannot be read as ELF: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn look<'data, H: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    data: R,
) -> object::Result<Elf> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let mut found = Elf {
        target: Target {
            is_64: header.is_class_64(),
            is_big: header.is_big_endian(),
            machine: header.e_machine(endian),
        },
        ..Elf::default()
    };
    for segment in header.program_headers(endian, data)? {
        if let Some(name) = segment.interpreter(endian, data)? {
            found.interpreter = Some(text(name));
        }
        found.dynamic |= segment.p_type(endian) == elf::PT_DYNAMIC;
    }
    // A file without sections runs, and tells no more.
    let Ok(sections) = header.sections(endian, data) else {
        return Ok(found);
    };
    for section in sections.iter() {
        let name = sections.section_name(endian, section).unwrap_or_default();
        found.go |= name == b".go.buildinfo" || name == b".note.go.buildid";
    }
    if let Some((entries, link)) = sections.dynamic(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        let string = |offset: u64| {
            let offset = u32::try_from(offset).ok()?;
            strings.get(offset).ok().map(text)
        };
        for entry in entries {
            let value: u64 = entry.d_val(endian).into();
            let tag: u64 = entry.d_tag(endian).into();
            match u32::try_from(tag) {
                Ok(elf::DT_NEEDED) => found.needed.extend(string(value)),
                Ok(elf::DT_RPATH | elf::DT_RUNPATH) => {
                    let paths = string(value).unwrap_or_default();
                    found.paths.extend(paths.split(':').map(str::to_owned));
                }
                _ => {}
            }
        }
    }
    if let Some((mut needs, link)) = sections.gnu_verneed(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        while let Some((_, mut names)) = needs.next()? {
            while let Some(name) = names.next()? {
                found.wants.push(text(name.name(endian, strings)?));
            }
        }
    }
    if let Some((mut definitions, link)) = sections.gnu_verdef(endian, data)? {
        let strings = sections.strings(endian, data, link)?;
        while let Some((_, mut names)) = definitions.next()? {
            if let Some(name) = names.next()? {
                found.has.push(text(name.name(endian, strings)?));
            }
        }
    }
    Ok(found)
}

fn names<'data, H: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    data: R,
    kind: u32,
) -> object::Result<HashSet<String>> {
    let header = H::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    let symbols = sections.symbols(endian, data, kind)?;
    let mut names = HashSet::new();
    for symbol in symbols.iter() {
        let function = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC);
        if function && !symbol.is_undefined(endian) && symbol.st_bind() != elf::STB_LOCAL {
            names.insert(text(symbol.name(endian, symbols.strings())?));
        }
    }
    Ok(names)
}

/// `GLIBC_2.34` as numbers that compare.
pub fn glibc(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix("GLIBC_")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_read() {
        let own = read(Path::new("/proc/self/exe")).unwrap();
        assert!(own.dynamic && own.interpreter.is_some() && !own.go);
        assert!(own.needed.iter().any(|name| name == "libc.so.6"), "{own:?}");
        assert!(own.wants.iter().any(|want| glibc(want) > Some((2, 0))));
        assert!(read(Path::new("/etc/passwd")).is_err());
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(glibc("GLIBC_2.4") < glibc("GLIBC_2.34"));
        assert_eq!(glibc("GLIBC_PRIVATE"), None);
    }
}
