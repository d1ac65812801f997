//! Reads a loaded object: its symbols and its relocations.
//!
//! Nothing in an object is trusted: each table must lie within the object's own
//! `PT_LOAD` segments before it is read, and an object with odd tables is left
//! alone. This code does not allocate or panic: it runs inside `dlsym`,
//! which allocators call while they start.

use core::mem::{align_of, size_of};
use core::ops::Range;

/// The hash of a name in `DT_GNU_HASH` tables.
pub(crate) const fn hash(name: &[u8]) -> u32 {
    let mut hash = 5381u32;
    let mut rest = name;
    while let [byte, more @ ..] = rest {
        hash = hash.wrapping_mul(33).wrapping_add(*byte as u32);
        rest = more;
    }
    hash
}

/// More segments than any linker or `patchelf` makes; an object with more is left alone.
const SEGMENTS: usize = 32;
/// Entries of a dynamic section that are read; glibc knows some 40 kinds.
const DYNAMIC_ENTRIES: usize = 512;
/// Symbols of one object that are read. A browser exports some 100,000.
const SYMBOLS: usize = 1 << 20;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_GNU_RELRO: u32 = 0x6474_e552;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

const DT_NULL: u64 = 0;
const DT_PLTRELSZ: u64 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELAENT: u64 = 9;
const DT_STRSZ: u64 = 10;
const DT_SYMENT: u64 = 11;
const DT_PLTREL: u64 = 20;
const DT_JMPREL: u64 = 23;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
const DT_RELACOUNT: u64 = 0x6fff_fff9;
const DT_VERSYM: u64 = 0x6fff_fff0;

/// As `Elf64_Phdr`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// As `Elf64_Sym`.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawSymbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

/// As `Elf64_Rela`.
#[derive(Clone, Copy)]
#[repr(C)]
struct RawRelocation {
    offset: u64,
    info: u64,
    addend: i64,
}

#[derive(Clone, Copy)]
#[repr(C)]
struct DynamicEntry {
    tag: u64,
    value: u64,
}

/// Types that any bits are a value of, and that hold no padding.
trait Plain: Copy {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for u64 {}
impl Plain for RawSymbol {}
impl Plain for RawRelocation {}
impl Plain for DynamicEntry {}

/// A table in an object's memory, within one of its segments.
#[derive(Clone, Copy)]
struct Table<T> {
    start: *const T,
    count: usize,
}

impl<T: Plain> Table<T> {
    const EMPTY: Table<T> = Table {
        start: core::ptr::null(),
        count: 0,
    };

    fn get(&self, index: usize) -> Option<T> {
        // SAFETY: `Object::table` has found `count` of them in a readable
        // segment, aligned. Volatile: the memory is not ours, and may change.
        (index < self.count).then(|| unsafe { self.start.add(index).read_volatile() })
    }
}

/// One `PT_LOAD`, as addresses of this process.
#[derive(Clone, Copy)]
struct Segment {
    start: usize,
    end: usize,
    flags: u32,
}

/// How symbols are found by name.
#[derive(Clone, Copy)]
enum Hashed {
    Gnu {
        first: usize,
        shift: u32,
        bloom: Table<u64>,
        buckets: Table<u32>,
        chain: Table<u32>,
    },
    SystemV {
        buckets: Table<u32>,
        chain: Table<u32>,
    },
}

/// A loaded object whose tables have been found sound.
pub(crate) struct Object {
    base: usize,
    segments: [Segment; SEGMENTS],
    count: usize,
    relro: Range<usize>,
    symbols: Table<RawSymbol>,
    versions: Table<u16>,
    names: Range<usize>,
    hashed: Option<Hashed>,
    relocations: [Table<RawRelocation>; 2],
}

/// `STT_FUNC`, a symbol's kind.
const FUNCTION: u8 = 2;

/// A symbol that the object defines, a function.
#[derive(Clone, Copy)]
pub(crate) struct Function {
    /// Its address.
    pub address: usize,
    /// Where its `st_value` is in the table.
    pub value_at: usize,
    /// Whether its version is found only by lookups that name the version.
    pub is_hidden: bool,
}

/// A relocation that names a symbol.
pub(crate) struct Relocation {
    /// The address of what it fills.
    pub slot: usize,
    /// The symbol's number: see [`Object::name_of`].
    pub symbol: usize,
}

/// Where a slot lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SlotLocation {
    /// In data that may be written.
    Data,
    /// In data that is made read-only once it is relocated: the whole of it.
    Relro(Range<usize>),
    /// Anywhere else, code for example.
    Elsewhere,
}

/// The dynamic section's numbers that matter here.
#[derive(Default)]
struct Dynamic {
    symbols: u64,
    symbol_size: u64,
    names: u64,
    names_size: u64,
    gnu_hash: u64,
    hash: u64,
    versions: u64,
    rela: u64,
    rela_size: u64,
    rela_entry: u64,
    relative_count: u64,
    plt: u64,
    plt_size: u64,
    plt_kind: u64,
}

impl Object {
    /// Reads the object at `base`. `None` where something is odd, or nothing can
    /// be looked up in it.
    ///
    /// # Safety
    /// The object must be mapped as its program headers say, and stay so as
    /// long as the `Object` is used.
    pub(crate) unsafe fn new(
        base: usize,
        headers: &[ProgramHeader],
        page: usize,
    ) -> Option<Object> {
        let mut object = Object {
            base,
            segments: [Segment {
                start: 0,
                end: 0,
                flags: 0,
            }; SEGMENTS],
            count: 0,
            relro: 0..0,
            symbols: Table::EMPTY,
            versions: Table::EMPTY,
            names: 0..0,
            hashed: None,
            relocations: [Table::EMPTY; 2],
        };
        let mut dynamic = None;
        for header in headers {
            let start = base.wrapping_add(header.address as usize);
            let end = start.checked_add(header.memory_size as usize)?;
            match header.kind {
                PT_LOAD => {
                    *object.segments.get_mut(object.count)? = Segment {
                        start,
                        end,
                        flags: header.flags,
                    };
                    object.count += 1;
                }
                PT_DYNAMIC => dynamic = Some(start..end),
                // Rounded as ld.so rounds it (`_dl_protect_relro`): down at both ends.
                PT_GNU_RELRO => object.relro = (start & !(page - 1))..(end & !(page - 1)),
                _ => {}
            }
        }
        let dynamic = object.dynamic(dynamic?)?;
        object.symbols = object.all_of(object.at(dynamic.symbols))?;
        object.names = {
            let start = object.at(dynamic.names);
            object.table::<u8>(start, dynamic.names_size as usize)?;
            start..start + dynamic.names_size as usize
        };
        if dynamic.symbol_size != size_of::<RawSymbol>() as u64 {
            return None;
        }
        object.hashed = Some(if dynamic.gnu_hash != 0 {
            object.gnu_hash(object.at(dynamic.gnu_hash))?
        } else if dynamic.hash != 0 {
            object.system_v_hash(object.at(dynamic.hash))?
        } else {
            return None;
        });
        if dynamic.versions != 0 {
            object.versions = object.all_of(object.at(dynamic.versions))?;
        }
        object.relocations = object.relocations_of(&dynamic).unwrap_or([Table::EMPTY; 2]);
        Some(object)
    }

    fn dynamic(&self, at: Range<usize>) -> Option<Dynamic> {
        let entries = (at.len() / size_of::<DynamicEntry>()).min(DYNAMIC_ENTRIES);
        let table = self.table::<DynamicEntry>(at.start, entries)?;
        let mut found = Dynamic::default();
        for index in 0..entries {
            let DynamicEntry { tag, value } = table.get(index)?;
            *match tag {
                DT_NULL => break,
                DT_SYMTAB => &mut found.symbols,
                DT_SYMENT => &mut found.symbol_size,
                DT_STRTAB => &mut found.names,
                DT_STRSZ => &mut found.names_size,
                DT_GNU_HASH => &mut found.gnu_hash,
                DT_HASH => &mut found.hash,
                DT_VERSYM => &mut found.versions,
                DT_RELA => &mut found.rela,
                DT_RELASZ => &mut found.rela_size,
                DT_RELAENT => &mut found.rela_entry,
                DT_RELACOUNT => &mut found.relative_count,
                DT_JMPREL => &mut found.plt,
                DT_PLTRELSZ => &mut found.plt_size,
                DT_PLTREL => &mut found.plt_kind,
                _ => continue,
            } = value;
        }
        Some(found)
    }

    /// An address of the dynamic section. ld.so relocates these in place, except
    /// in objects whose section is read-only, as the kernel's (vdso).
    fn at(&self, value: u64) -> usize {
        let value = value as usize;
        if value < self.base {
            value.wrapping_add(self.base)
        } else {
            value
        }
    }

    fn segments(&self) -> &[Segment] {
        self.segments.get(..self.count).unwrap_or(&[])
    }

    fn segment_of(&self, bytes: &Range<usize>) -> Option<&Segment> {
        self.segments()
            .iter()
            .find(|segment| segment.start <= bytes.start && bytes.end <= segment.end)
    }

    fn table<T>(&self, start: usize, count: usize) -> Option<Table<T>> {
        let end = start.checked_add(count.checked_mul(size_of::<T>())?)?;
        let segment = self.segment_of(&(start..end))?;
        (segment.flags & PF_R != 0 && start.is_multiple_of(align_of::<T>())).then_some(Table {
            start: start as *const T,
            count,
        })
    }

    /// A table of unknown length: it ends at the end of its segment at the latest.
    fn all_of<T>(&self, start: usize) -> Option<Table<T>> {
        let segment = self.segment_of(&(start..start.checked_add(1)?))?;
        self.table(start, (segment.end - start) / size_of::<T>())
    }

    fn gnu_hash(&self, at: usize) -> Option<Hashed> {
        let header = self.table::<u32>(at, 4)?;
        let (buckets, first) = (header.get(0)? as usize, header.get(1)? as usize);
        let (words, shift) = (header.get(2)? as usize, header.get(3)?);
        if buckets == 0 || words == 0 || shift >= 32 {
            return None;
        }
        let bloom_at = at + 16; // behind the header, which is mapped
        let bloom = self.table::<u64>(bloom_at, words)?;
        let buckets_at = bloom_at + words * size_of::<u64>();
        let chain_at = buckets_at.checked_add(buckets.checked_mul(size_of::<u32>())?)?;
        Some(Hashed::Gnu {
            first,
            shift,
            bloom,
            buckets: self.table(buckets_at, buckets)?,
            // An object that exports nothing may have no chain at all.
            chain: self.all_of(chain_at).unwrap_or(Table::EMPTY),
        })
    }

    fn system_v_hash(&self, at: usize) -> Option<Hashed> {
        let header = self.table::<u32>(at, 2)?;
        let (buckets, symbols) = (header.get(0)? as usize, header.get(1)? as usize);
        if buckets == 0 {
            return None;
        }
        let buckets_at = at + 8;
        let chain_at = buckets_at.checked_add(buckets.checked_mul(size_of::<u32>())?)?;
        Some(Hashed::SystemV {
            buckets: self.table(buckets_at, buckets)?,
            chain: self.table(chain_at, symbols)?,
        })
    }

    fn relocations_of(&self, dynamic: &Dynamic) -> Option<[Table<RawRelocation>; 2]> {
        const ENTRY: u64 = size_of::<RawRelocation>() as u64;
        let mut found = [Table::EMPTY; 2];
        if dynamic.rela != 0 && dynamic.rela_entry == ENTRY {
            // The first so many are relative, and name no symbol.
            let count = dynamic.rela_size / ENTRY;
            let skipped = dynamic.relative_count.min(count);
            let start = self
                .at(dynamic.rela)
                .checked_add((skipped * ENTRY) as usize)?;
            found[0] = self.table(start, (count - skipped) as usize)?;
        }
        if dynamic.plt != 0 && dynamic.plt_kind == DT_RELA {
            let start = self.at(dynamic.plt);
            found[1] = self.table(start, (dynamic.plt_size / ENTRY) as usize)?;
        }
        Some(found)
    }

    /// The name that begins at an offset; without an end it is none.
    fn name(&self, offset: u32) -> Option<&[u8]> {
        let at = self.names.start.checked_add(offset as usize)?;
        let room = self.names.end.checked_sub(at)?;
        let mut length = 0;
        while length < room {
            // SAFETY: within the table of names, which `new` found readable.
            if unsafe { ((at + length) as *const u8).read() } == 0 {
                // SAFETY: as above; names do not change while an object is mapped.
                return Some(unsafe { core::slice::from_raw_parts(at as *const u8, length) });
            }
            length += 1;
        }
        None
    }

    fn is_name(&self, offset: u32, name: &[u8]) -> bool {
        self.name(offset) == Some(name)
    }

    /// The function of this number, if the object defines it.
    fn function(&self, index: usize) -> Option<(RawSymbol, Function)> {
        self.defined(index, FUNCTION)
    }

    /// The function or variable of this number, by its kind, if the object defines it.
    fn defined(&self, index: usize, kind: u8) -> Option<(RawSymbol, Function)> {
        const GLOBAL: u8 = 1;
        const WEAK: u8 = 2;
        const UNDEFINED: u16 = 0;
        const RESERVED: u16 = 0xff00; // absolute ones among them
        const VERSION_HIDDEN: u16 = 0x8000;
        let symbol = self.symbols.get(index)?;
        if symbol.info & 0xf != kind
            || !matches!(symbol.info >> 4, GLOBAL | WEAK)
            || symbol.section == UNDEFINED
            || symbol.section >= RESERVED
            || symbol.value == 0
        {
            return None;
        }
        let version = self.versions.get(index).unwrap_or(0);
        let function = Function {
            address: self.base.wrapping_add(symbol.value as usize),
            value_at: self.symbols.start as usize
                + index * size_of::<RawSymbol>()
                + core::mem::offset_of!(RawSymbol, value),
            is_hidden: version & VERSION_HIDDEN != 0,
        };
        Some((symbol, function))
    }

    /// The function of this name: of its default version where it has several.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Function> {
        self.find_defined(name, FUNCTION)
    }

    /// Where the variable of this name lies.
    pub(crate) fn find_variable(&self, name: &[u8]) -> Option<usize> {
        const OBJECT: u8 = 1;
        Some(self.find_defined(name, OBJECT)?.address)
    }

    fn find_defined(&self, name: &[u8], kind: u8) -> Option<Function> {
        let mut best: Option<Function> = None;
        let mut look = |index: usize| {
            let found = self
                .defined(index, kind)
                .filter(|(symbol, _)| self.is_name(symbol.name, name));
            if let Some((_, function)) = found {
                if best.is_none_or(|best| best.is_hidden) {
                    best = Some(function);
                }
            }
        };
        match self.hashed.as_ref()? {
            Hashed::Gnu {
                first,
                shift,
                bloom,
                buckets,
                chain,
            } => {
                let hash = hash(name);
                let word = bloom.get((hash / 64) as usize % bloom.count)?;
                if word >> (hash % 64) & word >> ((hash >> shift) % 64) & 1 == 0 {
                    return None;
                }
                let mut index = buckets.get(hash as usize % buckets.count)? as usize;
                loop {
                    // Below the first stands the mark of an empty bucket.
                    let entry = chain.get(index.checked_sub(*first)?)?;
                    if entry | 1 == hash | 1 {
                        look(index);
                    }
                    if entry & 1 != 0 {
                        break;
                    }
                    index += 1;
                }
            }
            Hashed::SystemV { buckets, chain } => {
                let hash = system_v_hash(name) as usize;
                let mut index = buckets.get(hash % buckets.count)? as usize;
                // Not longer than the table, even where it leads in a circle.
                for _ in 0..chain.count {
                    if index == 0 {
                        break;
                    }
                    look(index);
                    index = chain.get(index)? as usize;
                }
            }
        }
        best
    }

    /// How many symbols there are.
    fn symbol_count(&self) -> usize {
        let count = match self.hashed.as_ref() {
            None => 0,
            Some(Hashed::SystemV { chain, .. }) => chain.count,
            Some(Hashed::Gnu {
                first,
                buckets,
                chain,
                ..
            }) => {
                // The last chain ends with the last symbol.
                let last = (0..buckets.count)
                    .filter_map(|index| buckets.get(index))
                    .max();
                let mut index = last.unwrap_or(0) as usize;
                while index >= *first && chain.get(index - *first).is_some_and(|end| end & 1 == 0) {
                    index += 1;
                }
                index + 1
            }
        };
        count.min(SYMBOLS).min(self.symbols.count)
    }

    /// Every function that the object defines, with its name.
    pub(crate) fn functions(&self) -> impl Iterator<Item = (&[u8], Function)> {
        (0..self.symbol_count()).filter_map(|index| {
            let (symbol, function) = self.function(index)?;
            Some((self.name(symbol.name)?, function))
        })
    }

    /// The function that holds the address, and how far in it that is.
    pub(crate) fn function_at(&self, address: usize) -> Option<(&[u8], usize)> {
        let offset = address.checked_sub(self.base)? as u64;
        (0..self.symbol_count()).find_map(|index| {
            let (symbol, _) = self.function(index)?;
            let within = offset.checked_sub(symbol.value)?;
            if within >= symbol.size {
                return None;
            }
            Some((self.name(symbol.name)?, within as usize))
        })
    }

    /// From its first byte to its last.
    pub(crate) fn range(&self) -> Range<usize> {
        let starts = self.segments().iter().map(|segment| segment.start);
        let ends = self.segments().iter().map(|segment| segment.end);
        starts.min().unwrap_or(0)..ends.max().unwrap_or(0)
    }

    /// Every relocation of a type that `wanted` takes and that names a symbol,
    /// without an addend.
    pub(crate) fn relocations(
        &self,
        wanted: fn(u32) -> bool,
    ) -> impl Iterator<Item = Relocation> + '_ {
        self.relocations
            .iter()
            .flat_map(|table| (0..table.count).filter_map(|index| table.get(index)))
            .filter_map(move |relocation| {
                let (kind, symbol) = (relocation.info as u32, (relocation.info >> 32) as usize);
                if symbol == 0 || relocation.addend != 0 || !wanted(kind) {
                    return None;
                }
                Some(Relocation {
                    slot: self.base.wrapping_add(relocation.offset as usize),
                    symbol,
                })
            })
    }

    /// The name of a symbol. Asked for late: most names lie in pages that
    /// nobody has touched since the object was mapped.
    pub(crate) fn name_of(&self, symbol: usize) -> Option<&[u8]> {
        self.name(self.symbols.get(symbol)?.name)
    }

    /// Where eight bytes lie that a relocation fills.
    pub(crate) fn place(&self, slot: usize) -> SlotLocation {
        let Some(end) = slot.checked_add(8) else {
            return SlotLocation::Elsewhere;
        };
        if !slot.is_multiple_of(8) {
            return SlotLocation::Elsewhere;
        }
        match self.segment_of(&(slot..end)) {
            Some(segment) if segment.flags & (PF_W | PF_X | PF_R) == PF_W | PF_R => {
                if self.relro.start <= slot && end <= self.relro.end {
                    SlotLocation::Relro(self.relro.clone())
                } else {
                    SlotLocation::Data
                }
            }
            _ => SlotLocation::Elsewhere,
        }
    }

    /// The whole table of symbols, as far as it is used, and how its segment is
    /// protected, as mprotect(2) has it.
    pub(crate) fn symbol_table(&self) -> Option<(Range<usize>, i32)> {
        let start = self.symbols.start as usize;
        let end = start.checked_add(self.symbol_count() * size_of::<RawSymbol>())?;
        let flags = self.segment_of(&(start..end))?.flags;
        let mut protection = 0;
        for (flag, bit) in [
            (PF_R, libc::PROT_READ),
            (PF_W, libc::PROT_WRITE),
            (PF_X, libc::PROT_EXEC),
        ] {
            if flags & flag != 0 {
                protection |= bit;
            }
        }
        Some((start..end, protection))
    }

    /// What is added to the object's own addresses.
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    /// Whether an address lies in the object.
    pub(crate) fn holds(&self, address: usize) -> bool {
        self.segments()
            .iter()
            .any(|segment| (segment.start..segment.end).contains(&address))
    }
}

/// The hash of a name in `DT_HASH` tables (System V gABI, chapter 5).
fn system_v_hash(name: &[u8]) -> u32 {
    let mut hash = 0u32;
    for byte in name {
        hash = (hash << 4).wrapping_add(u32::from(*byte));
        let high = hash & 0xf000_0000;
        hash ^= high >> 24;
        hash &= !high;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// Debian's libpq, laid out as ld.so maps it, and not relocated.
    struct Mapped {
        memory: Vec<u64>,
        /// Where it begins in there: at a page.
        skipped: usize,
        headers: Vec<ProgramHeader>,
    }

    const PAGE: usize = 4096;

    fn mapped() -> Mapped {
        let file = std::fs::read("/usr/lib/x86_64-linux-gnu/libpq.so.5").unwrap();
        let at = |offset: usize, size: usize| {
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(&file[offset..offset + size]);
            u64::from_le_bytes(bytes)
        };
        let (table, size, count) = (at(32, 8) as usize, at(54, 2) as usize, at(56, 2) as usize);
        let headers: Vec<ProgramHeader> = (0..count)
            .map(|number| {
                let header = table + number * size;
                ProgramHeader {
                    kind: at(header, 4) as u32,
                    flags: at(header + 4, 4) as u32,
                    offset: at(header + 8, 8),
                    address: at(header + 16, 8),
                    file_size: at(header + 32, 8),
                    memory_size: at(header + 40, 8),
                    ..Default::default()
                }
            })
            .collect();
        let loads = || headers.iter().filter(|header| header.kind == PT_LOAD);
        let end = loads().map(|load| load.address + load.memory_size).max();
        let mut memory = vec![0u64; (end.unwrap() as usize + PAGE) / 8 + 1];
        let skipped = (PAGE - memory.as_ptr() as usize % PAGE) / 8;
        for load in loads() {
            let (from, to) = (load.offset as usize, load.address as usize);
            let size = load.file_size as usize;
            // SAFETY: as many bytes of both, the memory being large enough for all segments.
            unsafe {
                let memory = memory.as_mut_ptr().add(skipped).cast::<u8>().add(to);
                memory.copy_from_nonoverlapping(file[from..from + size].as_ptr(), size);
            }
        }
        Mapped {
            memory,
            skipped,
            headers,
        }
    }

    impl Mapped {
        fn base(&self) -> usize {
            self.memory[self.skipped..].as_ptr() as usize
        }

        fn object(&self) -> Option<Object> {
            // SAFETY: the memory is laid out as the headers say.
            unsafe { Object::new(self.base(), &self.headers, PAGE) }
        }

        fn header(&self, kind: u32) -> ProgramHeader {
            *self
                .headers
                .iter()
                .find(|header| header.kind == kind)
                .unwrap()
        }
    }

    #[test]
    fn functions_are_found_by_name() {
        let mapped = mapped();
        let object = mapped.object().unwrap();
        let functions: Vec<_> = object.functions().collect();
        assert!(functions.len() > 180);
        for (name, function) in functions {
            let found = object.find(name).unwrap();
            assert_eq!(
                (found.address, found.value_at),
                (function.address, function.value_at)
            );
            assert!(object.holds(found.address));
        }
        assert!(object.find(b"PQnothing").is_none());
        assert!(object.find(b"pgresStatus").is_none(), "data");
        assert!(object.find(b"malloc").is_none(), "not its own");
        let (table, protection) = object.symbol_table().unwrap();
        assert!(table.contains(&object.find(b"PQexec").unwrap().value_at));
        assert_eq!(protection, libc::PROT_READ);
    }

    #[test]
    fn relocations_name_what_it_calls() {
        let mapped = mapped();
        let object = mapped.object().unwrap();
        let slots: Vec<_> = object
            .relocations(|kind| matches!(kind, 6 | 7))
            .map(|relocation| {
                (
                    object.name_of(relocation.symbol).unwrap().to_vec(),
                    relocation.slot,
                )
            })
            .collect();
        for name in ["close", "socket", "PQconnectPoll", "malloc"] {
            let slot = slots.iter().find(|(found, _)| found == name.as_bytes());
            let place = object.place(slot.unwrap().1);
            assert!(matches!(place, SlotLocation::Relro(_)), "{name}: {place:?}");
        }
        assert_eq!(
            object.place(mapped.base()),
            SlotLocation::Elsewhere,
            "read-only"
        );
        assert_eq!(object.place(usize::MAX - 3), SlotLocation::Elsewhere);
    }

    /// Whatever its tables hold, an object is read within its bounds.
    #[test]
    fn a_damaged_object_is_left_alone_or_read_within_bounds() {
        let mut mapped = mapped();
        let dynamic = mapped.header(PT_DYNAMIC);
        let first = mapped.header(PT_LOAD);
        // The dynamic section, and what stands at the beginning: hashes, symbols, names.
        let areas = [
            (
                dynamic.address as usize / 8,
                dynamic.memory_size as usize / 8,
            ),
            (0x238 / 8, (first.file_size as usize - 0x238) / 8),
        ];
        let mut random = 88172645463325252u64; // Marsaglia's xorshift, and his seed
        let mut next = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize
        };
        let (mut sound, mut odd) = (0, 0);
        for _ in 0..3000 {
            let (start, length) = areas[next() % 2];
            let word = mapped.skipped + start + next() % length;
            let before = mapped.memory[word];
            mapped.memory[word] = match next() % 4 {
                0 => u64::MAX,
                1 => before ^ 1 << (next() % 64),
                2 => next() as u64,
                _ => 0,
            };
            match mapped.object() {
                Some(object) => {
                    sound += 1;
                    object.find(b"PQexec");
                    object
                        .functions()
                        .for_each(|(name, _)| assert!(name.len() < 1 << 20));
                    object.relocations(|_| true).for_each(|relocation| {
                        object.place(relocation.slot);
                        object.name_of(relocation.symbol);
                    });
                }
                None => odd += 1,
            }
            mapped.memory[word] = before;
        }
        assert!(sound > 1000 && odd > 100, "{sound} sound, {odd} odd");
    }
}
