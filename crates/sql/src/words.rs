//! The words that the reader knows, by a table made when it is compiled.

/// Up to the first eight bytes of a word, ASCII letters in lower case, the rest zero.
///
/// `| 0x20` folds letters and maps no two other bytes of an identifier to one: `_` becomes
/// 0x7f, which no identifier holds; digits and `$` have the bit.
pub fn head(text: &[u8], start: usize, length: usize) -> u64 {
    const FOLD: u64 = u64::from_ne_bytes([0x20; 8]);
    let mask = if length >= 8 {
        u64::MAX
    } else {
        (1 << (8 * length)) - 1
    };
    let rest = text.get(start..).unwrap_or_default();
    let bytes = match rest.first_chunk::<8>() {
        Some(chunk) => *chunk,
        None => {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(rest) {
                *to = *from;
            }
            bytes
        }
    };
    (u64::from_le_bytes(bytes) | FOLD) & mask
}

/// [`head`] when compiling.
const fn head_of(word: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let mut i = 0;
    while i < word.len() && i < 8 {
        bytes[i] = word[i] | 0x20;
        i += 1;
    }
    u64::from_le_bytes(bytes)
}

const fn slot(head: u64, length: usize) -> usize {
    // A multiplication spreads all bytes into the upper bits (Knuth's golden ratio).
    ((head ^ length as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 55) as usize
}

/// Twice as many as there are words, at least, so that chains stay short.
const SLOTS: usize = 512;

#[derive(Clone, Copy)]
struct Slot {
    head: u64,
    length: u8,
    word: Word,
}

macro_rules! words {
    ($($name:ident $text:literal,)*) => {
        /// A word that means something to the reader.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        #[allow(missing_docs)] // each is the SQL word of its name
        pub enum Word {
            /// Any other.
            Other,
            /// `pg_temp`, `pg_temp_3`: anything that begins so.
            PgTemp,
            $($name,)*
        }

        /// Each with its text.
        pub const ALL: &[(&str, Word)] = &[$(($text, Word::$name),)*];
    };
}

words! {
    Abort "abort", All "all", Alter "alter", Analyse "analyse", Analyze "analyze", And "and",
    Any "any", Array "array", As "as", Atomic "atomic", Authorization "authorization",
    Begin "begin", Between "between", Binary "binary", Bit "bit", By "by", Call "call",
    Case "case", Cast "cast", Catalog "catalog", Chain "chain", Char "char",
    Character "character", Characteristics "characteristics", Check "check",
    Checkpoint "checkpoint", Close "close", Cluster "cluster", Coalesce "coalesce",
    Comment "comment", Commit "commit", Conflict "conflict", Constraint "constraint",
    Constraints "constraints", Copy "copy", Create "create", Cross "cross", Cube "cube",
    CurrentDate "current_date", CurrentTime "current_time", CurrentTimestamp "current_timestamp", Cursor "cursor",
    Database "database", Deallocate "deallocate", Dec "dec", Decimal "decimal",
    Declare "declare", Default "default", Deferrable "deferrable", Delete "delete",
    Discard "discard", Distinct "distinct", Do "do", Domain "domain", Drop "drop",
    Else "else", End "end", Enum "enum", Except "except", Exclude "exclude",
    Execute "execute", Exists "exists", Explain "explain", Extract "extract",
    False "false", Fetch "fetch", Float "float", For "for", Foreign "foreign", From "from",
    Full "full", Function "function", Global "global", Grant "grant",
    Greatest "greatest", Group "group", Grouping "grouping", Having "having", Hold "hold",
    Import "import", In "in", Index "index", Inner "inner", Insert "insert",
    Intersect "intersect", Interval "interval", Into "into", Isolation "isolation",
    Join "join", Key "key", Lateral "lateral", Least "least", Left "left",
    Level "level", Limit "limit", Listen "listen", Load "load", Local "local",
    LocalTime "localtime", LocalTimestamp "localtimestamp", Lock "lock", Mapping "mapping",
    Materialized "materialized", Merge "merge", Move "move", Names "names",
    National "national", Natural "natural", Nchar "nchar", No "no",
    Normalize "normalize", Not "not", Notify "notify", Null "null", Nullif "nullif",
    Numeric "numeric", Of "of", Offset "offset", On "on", Only "only", Operator "operator",
    XmlOption "option", Or "or", Order "order", Outer "outer", Overlay "overlay",
    Overriding "overriding", Owned "owned", Partition "partition", PgCatalog "pg_catalog", PgLocks "pg_locks",
    PgSettings "pg_settings", Plans "plans", Policy "policy", Position "position",
    Prepare "prepare", Prepared "prepared", Primary "primary", Privileges "privileges",
    Procedure "procedure", Publication "publication", Read "read", Reassign "reassign",
    Recursive "recursive", References "references", Refresh "refresh", Reindex "reindex",
    Release "release", Replace "replace", Reset "reset", Returning "returning",
    Revoke "revoke", Right "right", Role "role", Rollback "rollback", Rollup "rollup", Row "row", Rule "rule",
    Savepoint "savepoint", Schema "schema", Select "select", Sequence "sequence",
    Sequences "sequences", Session "session", Set "set", SetConfig "set_config",
    Setof "setof", Sets "sets", Share "share", Show "show", SomeOf "some", Start "start",
    Statistics "statistics", Stdin "stdin", Stdout "stdout", Substring "substring",
    Symmetric "symmetric", Table "table", Tablespace "tablespace", Temp "temp",
    Temporary "temporary", Then "then", Time "time", Timestamp "timestamp", To "to",
    Transaction "transaction", Treat "treat", Trigger "trigger", Trim "trim", True "true",
    Truncate "truncate", Type "type", Union "union", Unique "unique", Unlisten "unlisten",
    Unlogged "unlogged", Update "update", User "user", Using "using", Vacuum "vacuum",
    Values "values", Varchar "varchar", Variadic "variadic", Varying "varying",
    Verbose "verbose", View "view", When "when", Where "where", With "with",
    Without "without", Work "work", Xml "xml", XmlConcat "xmlconcat",
    XmlElement "xmlelement", XmlExists "xmlexists", XmlForest "xmlforest",
    XmlParse "xmlparse", XmlPi "xmlpi", XmlRoot "xmlroot", XmlSerialize "xmlserialize",
    XmlAttributes "xmlattributes", XmlTable "xmltable", XmlNamespaces "xmlnamespaces",
    Zone "zone", Write "write", Committed "committed", Serializable "serializable",
    Repeatable "repeatable", Uncommitted "uncommitted",
}

static TABLE: [Slot; SLOTS] = {
    let mut table = [Slot {
        head: 0,
        length: 0,
        word: Word::Other,
    }; SLOTS];
    let mut i = 0;
    while i < ALL.len() {
        let text = ALL[i].0.as_bytes();
        let head = head_of(text);
        let mut at = slot(head, text.len());
        while table[at].length != 0 {
            at = (at + 1) % SLOTS;
        }
        table[at] = Slot {
            head,
            length: text.len() as u8,
            word: ALL[i].1,
        };
        i += 1;
    }
    table
};

/// `pg_temp`, as [`head`] folds it.
const PG_TEMP: u64 = head_of(b"pg_temp");
const SEVEN_BYTES: u64 = (1 << 56) - 1;

/// The word of `text[start..end]`, in whatever case it is written.
pub fn word(text: &[u8], start: usize, end: usize) -> Word {
    let length = end - start;
    let head = head(text, start, length);
    let mut at = slot(head, length);
    loop {
        // The mask is for the compiler, which then knows the index is one.
        let slot = &TABLE[at & (SLOTS - 1)];
        if slot.length == 0 {
            break;
        }
        if slot.head == head && usize::from(slot.length) == length {
            if length <= 8 {
                return slot.word;
            }
            // Two words of one head and length: none in the table. What differs behind the
            // head is another word.
            let known = ALL[slot.word as usize - 2].0.as_bytes();
            let same = text
                .get(start..end)
                .is_some_and(|written| written.eq_ignore_ascii_case(known));
            if same {
                return slot.word;
            }
        }
        at += 1;
    }
    if head & SEVEN_BYTES == PG_TEMP {
        return Word::PgTemp;
    }
    Word::Other
}

impl Word {
    /// Written before `(` it is syntax and nothing else: PostgreSQL lets no function have the
    /// name unless quoted (categories R and C of `pg_get_keywords()`).
    pub fn takes_parenthesis(self) -> bool {
        use Word::*;
        matches!(
            self,
            All | And
                | Any
                | Array
                | As
                | Between
                | Bit
                | Case
                | Cast
                | Char
                | Character
                | Check
                | Coalesce
                | CurrentTime
                | CurrentTimestamp
                | Dec
                | Decimal
                | Default
                | Distinct
                | Else
                | Except
                | Exists
                | Extract
                | Float
                | For
                | From
                | Greatest
                | Group
                | Grouping
                | Having
                | In
                | Intersect
                | Interval
                | Into
                | Lateral
                | Least
                | Limit
                | LocalTime
                | LocalTimestamp
                | National
                | Nchar
                | Normalize
                | Not
                | Null
                | Nullif
                | Numeric
                | Offset
                | On
                | Only
                | Or
                | Overlay
                | Position
                | References
                | Returning
                | Row
                | Select
                | Setof
                | SomeOf
                | Substring
                | Symmetric
                | Table
                | Then
                | Time
                | Timestamp
                | To
                | Treat
                | Trim
                | Union
                | Unique
                | Using
                | Values
                | Varchar
                | Variadic
                | When
                | Where
                | With
                | XmlAttributes
                | XmlConcat
                | XmlElement
                | XmlExists
                | XmlForest
                | XmlNamespaces
                | XmlParse
                | XmlPi
                | XmlRoot
                | XmlSerialize
                | XmlTable
        )
    }
}
