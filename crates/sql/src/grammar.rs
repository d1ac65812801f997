//! What each kind of statement does.

use super::calls::{self, Body, Place};
use super::lexer::{Kind, Lexer, Token};
use super::name::{mentions_pg_temp, Name};
use super::set_config::{self, Argument};
use super::temporary::{self, Temporaries};
use super::words::Word;
use super::{Calls, Cause, Lock, Mode, Redefines, Routines, Statement, Touch, Value, What};
use crate::reason::Reason;

/// The next statement of a text; none at its end. `in_transaction`: what it does there is asked, too.
pub fn statement<'a>(
    text: &'a [u8],
    lexer: &mut Lexer<'a>,
    mode: &Mode<'a>,
    in_transaction: bool,
) -> Option<Statement<'a>> {
    let mut first = lexer.token();
    while first.kind == Kind::Semicolon {
        first = lexer.token();
    }
    if first.kind == Kind::End {
        return None;
    }
    let mut reader = Reader {
        text,
        lexer: *lexer,
        mode,
        first,
        token: first,
        end: first.start,
        depth: 0,
        operators: 0,
        opened: false,
        routine: false,
        creates: false,
        redefines: Redefines::Nothing,
        calls: Calls::default(),
        routines: Routines::Same,
        temporary: Temporaries::Same,
        names_temporary: true,
        in_transaction,
        more: None,
        vouched: false,
        lost: None,
    };
    reader.look();
    let mut what = reader.statement().unwrap_or_else(What::Opaque);
    reader.finish();
    if let Some(reason) = reader.lost {
        what = What::Opaque(reason.into());
        reader.end = text.len();
        reader.lexer = Lexer::new(b"", true);
    }
    *lexer = reader.lexer;
    Some(Statement {
        text: text.get(first.start..reader.end).unwrap_or_default(),
        what,
        redefines: reader.redefines,
        calls: reader.calls,
        routines: reader.routines,
        temporary: reader.temporary,
        touch: reader.touch(&what),
        vouched: reader.vouched,
    })
}

type Read<'a> = Result<What<'a>, Cause<'a>>;

/// Deepest nesting of parentheses that is followed: one bit each in `operators`.
const DEEPEST: u32 = 64;

struct Reader<'a, 'm> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    mode: &'m Mode<'a>,
    /// The statement's first.
    first: Token,
    /// The one under consideration.
    token: Token,
    /// Where the last one before it ends.
    end: usize,
    /// Open parentheses.
    depth: u32,
    /// For each open parenthesis, innermost last, whether an expression may begin behind it.
    operators: u64,
    /// A parenthesis has been opened.
    opened: bool,
    /// `CREATE FUNCTION` or `PROCEDURE`: semicolons may stand in its body.
    routine: bool,
    /// `CREATE`: what is made of a view is not seen any more.
    creates: bool,
    /// See [`Statement::redefines`].
    redefines: Redefines<'a>,
    /// See [`Statement::calls`].
    calls: Calls<'a>,
    /// See [`Statement::routines`].
    routines: Routines<'a>,
    /// See [`Statement::temporary`].
    temporary: Temporaries<'a>,
    /// Where `pg_temp.` stands in it, it makes nothing there but what `temporary` says.
    names_temporary: bool,
    /// What it does in its transaction is asked, too.
    in_transaction: bool,
    /// The first word by which it does more than to read.
    more: Option<&'a [u8]>,
    /// A call in it is harmless because the user says so.
    vouched: bool,
    /// Why the rest of the text cannot be followed.
    lost: Option<Reason>,
}

impl<'a> Reader<'a, '_> {
    /// Goes on to the next token.
    #[inline]
    fn bump(&mut self) {
        self.end = self.token.end;
        self.token = self.lexer.token();
        self.look();
    }

    #[inline]
    fn look(&mut self) {
        if self.token.kind == Kind::Lost {
            self.lost = Some(Reason::TextInDoubt);
        }
    }

    /// The statement ends before the token.
    #[inline]
    fn at_end(&self) -> bool {
        match self.token.kind {
            Kind::End | Kind::Lost => true,
            Kind::Semicolon => self.depth == 0,
            _ => false,
        }
    }

    fn peek(&self) -> Token {
        let mut lexer = self.lexer;
        lexer.token()
    }

    /// The two tokens behind the next one.
    fn peek2(&self) -> (Token, Token) {
        let mut lexer = self.lexer;
        (lexer.token(), lexer.token())
    }

    fn written(&self, token: Token) -> &'a [u8] {
        self.text.get(token.start..token.end).unwrap_or_default()
    }

    fn is(&self, word: Word) -> bool {
        self.token.kind == Kind::Word(word)
    }

    /// Takes the word if it is the next.
    fn take(&mut self, word: Word) -> bool {
        let is = self.is(word);
        if is {
            self.bump();
        }
        is
    }

    fn opaque<T>(&self, reason: Reason) -> Result<T, Cause<'a>> {
        self.opaque_at(reason, self.token)
    }

    fn opaque_at<T>(&self, reason: Reason, token: Token) -> Result<T, Cause<'a>> {
        let detail = match token.kind {
            Kind::Semicolon => b"",
            _ => self.written(token),
        };
        Err(Cause { reason, detail })
    }

    /// The statement's kind is named, and not where it stopped making sense: that may be data.
    fn unread<T>(&self) -> Result<T, Cause<'a>> {
        match self.first.kind {
            Kind::Word(_) => self.opaque_at(Reason::Unread, self.first),
            _ => Err(Reason::Unread.into()),
        }
    }

    /// What was read, if nothing is left of the statement.
    fn at_last(&self, what: What<'a>) -> Read<'a> {
        if self.at_end() {
            Ok(what)
        } else {
            self.unread()
        }
    }

    fn name(&mut self) -> Result<Name<'a>, Cause<'a>> {
        let name = match self.token.kind {
            Kind::Word(_) | Kind::Quoted => Name::written(self.written(self.token)),
            _ => None,
        };
        match name {
            Some(name) => {
                self.bump();
                Ok(name)
            }
            None => self.opaque(Reason::NameInDoubt),
        }
    }

    /// A setting's name: parts with points between.
    fn setting(&mut self) -> Result<Name<'a>, Cause<'a>> {
        let start = self.token.start;
        loop {
            self.name()?;
            if self.token.kind != Kind::Dot {
                break;
            }
            self.bump();
        }
        // Blanks or comments between the parts: nobody writes that.
        let name = self.text.get(start..self.end).unwrap_or_default();
        let mut quoted = false;
        let blank = name.iter().any(|&byte| {
            quoted ^= byte == b'"';
            !quoted
                && matches!(
                    byte,
                    b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b'-' | b'/'
                )
        });
        match Name::written(name) {
            Some(name) if !blank => Ok(name),
            _ => Err(Cause {
                reason: Reason::NameInDoubt,
                detail: name,
            }),
        }
    }

    /// What the statement, which was read to its end, leaves behind in its transaction. What is not
    /// known to be a read is more.
    fn touch(&self, what: &What<'a>) -> Touch<'a> {
        use Word::*;
        let more = Touch::More(self.more.unwrap_or_else(|| self.written(self.first)));
        let first = match self.first.kind {
            Kind::Word(word) => word,
            _ => Other,
        };
        match what {
            // No snapshot is taken for it (`PlannedStmtRequiresSnapshot` in pquery.c).
            What::Harmless if first == Show => Touch::Nothing,
            What::Harmless | What::Execute { .. } if self.more.is_some() => more,
            What::Harmless if self.first.kind == Kind::Open => Touch::Reads,
            What::Harmless if matches!(first, Select | Values | Table | With | Explain) => {
                Touch::Reads
            }
            // With what was prepared.
            What::Execute { .. } if matches!(first, Execute | Explain) => Touch::Reads,
            What::Deallocate(_) | What::DeallocateAll => Touch::Reads,
            // They are done again as they are.
            What::Begin
            | What::Commit
            | What::Rollback
            | What::SetTransaction
            | What::Savepoint(_)
            | What::Release(_)
            | What::RollbackTo(_)
            | What::Set { .. }
            // (With its parameters: nothing else stands in its SELECT.)
            | What::SetConfig(_)
            | What::SetCharacteristics { .. }
            | What::ResetAll
            | What::Prepare { .. } => Touch::Nothing,
            _ => more,
        }
    }

    /// It does more than to read.
    fn is_more(&mut self, by: Token) {
        if self.more.is_none() {
            self.more = Some(self.written(by));
        }
    }

    fn statement(&mut self) -> Read<'a> {
        use Word::*;
        let first = self.token;
        if first.kind == Kind::Open {
            return self.query();
        }
        let Kind::Word(word) = first.kind else {
            return self.unread();
        };
        if matches!(word, Select) {
            if let Some(what) = self.set_config() {
                return what;
            }
            if let Some(what) = self.advisory_lock() {
                return Ok(what);
            }
            return self.query();
        }
        match word {
            Insert | Update | Delete | With | Values | Table | Merge => self.query(),
            Begin => self.words_only(What::Begin),
            Start => {
                self.bump();
                if !self.is(Transaction) {
                    return self.unread();
                }
                self.words_only(What::Begin)
            }
            Commit | End => self.end_of_transaction(What::Commit),
            Abort => self.words_only(What::Rollback),
            Rollback => self.rollback(),
            Savepoint => {
                self.bump();
                let name = self.name()?;
                self.at_last(What::Savepoint(name))
            }
            Release => {
                self.bump();
                let name = self.savepoint()?;
                self.at_last(What::Release(name))
            }
            Set => self.set(),
            Reset => self.reset(),
            Close => self.close(),
            Show | Fetch | Move | Notify | Lock | Checkpoint | Vacuum | Analyze | Analyse
            | Cluster | Reindex | Refresh | Truncate | Comment | Grant | Revoke | Drop
            | Reassign => {
                if word == Drop {
                    self.redefines = self.dropped();
                    if self.drops_routines() {
                        self.routines = Routines::Dropped;
                    }
                    let behind = self.text.get(self.token.end..).unwrap_or_default();
                    self.temporary =
                        temporary::dropped(behind, self.mode.standard_conforming_strings);
                    // The names by which sessions log in.
                    if matches!(self.peek().kind, Kind::Word(Role | User | Group)) {
                        self.scan(Body::NoCalls)?;
                        return Ok(What::Roles {
                            by: self.written(first),
                        });
                    }
                }
                self.scan(Body::NoCalls)?;
                Ok(What::Harmless)
            }
            Prepare => self.prepare(),
            Execute => self.execute(),
            Deallocate => self.deallocate(),
            Declare => self.declare(),
            Explain => self.explain(),
            Copy => self.copy(),
            Listen => {
                self.bump();
                let name = self.name()?;
                self.at_last(What::Listen(name))
            }
            Unlisten => {
                self.bump();
                if self.token.kind == Kind::Other && self.written(self.token) == b"*" {
                    self.bump();
                    return self.at_last(What::UnlistenAll);
                }
                let name = self.name()?;
                self.at_last(What::Unlisten(name))
            }
            Discard => {
                self.bump();
                let what = match self.token.kind {
                    Kind::Word(All) => What::DiscardAll,
                    Kind::Word(Plans | Sequences) => What::DiscardOther,
                    Kind::Word(Temp | Temporary) => {
                        self.temporary = Temporaries::Discarded;
                        What::DiscardOther
                    }
                    _ => return self.unread(),
                };
                self.bump();
                self.at_last(what)
            }
            Create => self.create(),
            Alter => self.alter(),
            _ => self.opaque(Reason::AnyEffect),
        }
    }

    /// BEGIN, COMMIT and their kin: words and commas to the end.
    fn words_only(&mut self, what: What<'a>) -> Read<'a> {
        while !self.at_end() {
            if !matches!(self.token.kind, Kind::Word(_) | Kind::Comma) {
                return self.unread();
            }
            self.bump();
        }
        Ok(what)
    }

    fn end_of_transaction(&mut self, what: What<'a>) -> Read<'a> {
        self.bump();
        if self.take(Word::Prepared) {
            // Another transaction, prepared before, perhaps elsewhere.
            if self.token.kind != Kind::String {
                return self.unread();
            }
            self.bump();
            return self.at_last(What::Harmless);
        }
        self.words_only(what)
    }

    fn rollback(&mut self) -> Read<'a> {
        let (mut next, behind) = self.peek2();
        let skip = matches!(next.kind, Kind::Word(Word::Work | Word::Transaction));
        if skip {
            next = behind;
        }
        if next.kind != Kind::Word(Word::To) {
            return self.end_of_transaction(What::Rollback);
        }
        self.bump();
        if skip {
            self.bump();
        }
        self.bump();
        let name = self.savepoint()?;
        self.at_last(What::RollbackTo(name))
    }

    /// `[SAVEPOINT] name`, where the name may be `savepoint`.
    fn savepoint(&mut self) -> Result<Name<'a>, Cause<'a>> {
        if self.is(Word::Savepoint) && matches!(self.peek().kind, Kind::Word(_) | Kind::Quoted) {
            self.bump();
        }
        self.name()
    }

    /// SELECT, INSERT, …: harmless if no call in it is anything else.
    fn query(&mut self) -> Read<'a> {
        self.scan(Body::Query)?;
        Ok(What::Harmless)
    }

    /// A query within another statement.
    fn inner_query(&mut self) -> Result<(), Cause<'a>> {
        use Word::*;
        match self.token.kind {
            Kind::Open
            | Kind::Word(Select | Insert | Update | Delete | With | Values | Table | Merge) => {
                self.scan(Body::Query)?;
                Ok(())
            }
            _ => self.unread(),
        }
    }

    /// `SELECT set_config(…), …` and no more. Nothing if it is another SELECT.
    fn set_config(&mut self) -> Option<Read<'a>> {
        if !set_config::begins(self.lexer) {
            return None;
        }
        let standard_strings = self.mode.standard_conforming_strings;
        let rest = self.text.get(self.token.end..).unwrap_or_default();
        let Some(calls) = set_config::read(rest, standard_strings) else {
            return Some(Err(Reason::SetConfigUnread.into()));
        };
        while !self.at_end() {
            self.bump();
        }
        let mut each = calls.calls();
        // As if it were SET.
        if let (Some(call), None) = (each.next(), each.next()) {
            if let (Argument::Constant(name), Argument::Boolean(local)) = (call.name, call.local) {
                let (value, given) = match call.value {
                    Argument::Constant(given) => (Value::Given, given),
                    Argument::Null => (Value::Default, &b""[..]),
                    _ => return Some(Ok(What::SetConfig(calls))),
                };
                let pg_temp = mentions_pg_temp(given);
                return Some(self.set_to(Name::plain(name), local, value, pg_temp));
            }
        }
        Some(Ok(What::SetConfig(calls)))
    }

    /// The inside of a plain string constant: no quote in it, no escape, ASCII.
    fn constant(&self, token: Token) -> Option<&'a [u8]> {
        set_config::plain(self.written(token)).filter(|inside| inside.is_ascii())
    }

    fn set_to(&self, name: Name<'a>, local: bool, value: Value, pg_temp: bool) -> Read<'a> {
        // The random numbers that follow cannot be made to continue.
        if name.is_setting("seed") {
            return Err(Reason::RandomSeed.into());
        }
        // Every CREATE behind it may make a temporary object.
        if pg_temp && name.is_setting("search_path") {
            return Err(Reason::TemporarySearchPath.into());
        }
        Ok(What::Set { name, local, value })
    }

    fn set(&mut self) -> Read<'a> {
        use Word::*;
        self.bump();
        let mut local = false;
        if matches!(self.token.kind, Kind::Word(Local | Session)) && !self.names_a_setting() {
            let next = self.peek2();
            let word = self.token.kind;
            // SESSION AUTHORIZATION and SESSION CHARACTERISTICS AS are read below.
            let other = word == Kind::Word(Session)
                && (next.0.kind == Kind::Word(Authorization)
                    || (next.0.kind, next.1.kind) == (Kind::Word(Characteristics), Kind::Word(As)));
            if !other {
                local = word == Kind::Word(Local);
                self.bump();
            }
        }
        if !self.names_a_setting() {
            if let Kind::Word(word) = self.token.kind {
                if let Some(read) = self.set_special(word, local) {
                    return read;
                }
            }
            return self.unread();
        }
        let name = self.setting()?;
        match self.token.kind {
            Kind::Equals | Kind::Word(To) => self.bump(),
            _ => return self.unread(),
        }
        self.value(name, local)
    }

    /// `name =`, `name TO`, `name.`, `name FROM CURRENT`: the setting is called so.
    fn names_a_setting(&self) -> bool {
        self.token.kind == Kind::Quoted
            || matches!(
                self.peek().kind,
                Kind::Equals | Kind::Dot | Kind::Word(Word::To | Word::From)
            )
    }

    /// The forms of SET with a syntax of their own.
    fn set_special(&mut self, word: Word, local: bool) -> Option<Read<'a>> {
        use Word::*;
        let setting = match word {
            Time if self.peek().kind == Kind::Word(Zone) => {
                self.bump();
                "timezone"
            }
            Names => "client_encoding",
            Schema => "search_path",
            Role => "role",
            Session if self.peek().kind == Kind::Word(Authorization) => {
                self.bump();
                "session_authorization"
            }
            Session if self.peek().kind == Kind::Word(Characteristics) => {
                return Some(self.characteristics(local));
            }
            Xml if self.peek().kind == Kind::Word(XmlOption) => {
                self.bump();
                "xmloption"
            }
            // For this transaction only.
            Transaction | Constraints => {
                return Some(self.scan(Body::NoCalls).map(|_| What::SetTransaction));
            }
            _ => return None,
        };
        self.bump();
        let name = Name::plain(setting.as_bytes());
        // SET NAMES alone is SET NAMES DEFAULT; SET TIME ZONE LOCAL is DEFAULT.
        let default = (word == Names && self.at_end())
            || (word == Time && self.is(Local) && {
                self.bump();
                self.at_end()
            });
        Some(if default {
            self.set_to(name, local, Value::Default, false)
        } else {
            self.value(name, local)
        })
    }

    /// A setting's new value, to the statement's end.
    fn value(&mut self, name: Name<'a>, local: bool) -> Read<'a> {
        if self.is(Word::Default) {
            self.bump();
            let what = self.set_to(name, local, Value::Default, false)?;
            return self.at_last(what);
        }
        let search_path = name.is_setting("search_path");
        let mut pg_temp = false;
        let (mut empty, mut interval) = (true, false);
        while !self.at_end() {
            let token = self.token;
            match token.kind {
                Kind::Word(_) | Kind::Quoted | Kind::String => {
                    pg_temp |= mentions_pg_temp(self.written(token));
                    // Its value is not what is written: it may say pg_temp.
                    let hidden = token.kind == Kind::String && self.constant(token).is_none();
                    if hidden && search_path {
                        return Err(Reason::SearchPathInDoubt.into());
                    }
                }
                Kind::Number | Kind::Comma | Kind::Dot => {}
                Kind::Other if matches!(self.written(token), b"+" | b"-") => {}
                // INTERVAL(3) '…'
                Kind::Open if interval && self.depth == 0 => self.depth = 1,
                Kind::Close if self.depth == 1 => self.depth = 0,
                _ => return self.unread(),
            }
            empty = false;
            interval = token.kind == Kind::Word(Word::Interval);
            self.bump();
        }
        if empty {
            return self.unread();
        }
        self.set_to(name, local, Value::Given, pg_temp)
    }

    fn characteristics(&mut self, local: bool) -> Read<'a> {
        use Word::*;
        self.bump(); // SESSION
        self.bump(); // CHARACTERISTICS
        let (mut isolation, mut read_only, mut deferrable) = (false, false, false);
        if !self.take(As) || !self.take(Transaction) {
            return self.unread();
        }
        while !self.at_end() {
            match self.token.kind {
                Kind::Word(Isolation) => {
                    isolation = true;
                    self.bump();
                    if !self.take(Level) {
                        return self.unread();
                    }
                    if self.take(Read) {
                        // COMMITTED or UNCOMMITTED follows, not ONLY.
                        if !self.take(Committed) && !self.take(Uncommitted) {
                            return self.unread();
                        }
                        continue;
                    }
                }
                Kind::Word(Read) => read_only = true,
                Kind::Word(Deferrable) => deferrable = true,
                Kind::Word(Only | Write | Not | Serializable | Repeatable) | Kind::Comma => {}
                _ => return self.unread(),
            }
            self.bump();
        }
        Ok(What::SetCharacteristics {
            isolation,
            read_only,
            deferrable,
            local,
        })
    }

    fn reset(&mut self) -> Read<'a> {
        use Word::*;
        self.bump();
        let special = match self.token.kind {
            Kind::Word(All) => {
                self.bump();
                return self.at_last(What::ResetAll);
            }
            Kind::Word(Time) if self.peek().kind == Kind::Word(Zone) => "timezone",
            Kind::Word(Session) if self.peek().kind == Kind::Word(Authorization) => {
                "session_authorization"
            }
            Kind::Word(Transaction) if self.peek().kind == Kind::Word(Isolation) => {
                self.bump();
                "transaction_isolation"
            }
            _ => {
                let name = self.setting()?;
                let what = self.set_to(name, false, Value::Default, false)?;
                return self.at_last(what);
            }
        };
        self.bump();
        self.bump();
        self.at_last(What::Set {
            name: Name::plain(special.as_bytes()),
            local: false,
            value: Value::Default,
        })
    }

    fn prepare(&mut self) -> Read<'a> {
        let (next, behind) = self.peek2();
        if next.kind == Kind::Word(Word::Transaction) && behind.kind == Kind::String {
            self.bump();
            self.bump();
            self.bump();
            return self.at_last(What::PrepareTransaction);
        }
        self.bump();
        let name = self.name()?;
        if self.token.kind == Kind::Open {
            self.parenthesised()?; // types
        }
        if !self.take(Word::As) {
            return self.unread();
        }
        let start = self.token.start;
        self.inner_query()?;
        let body = self.text.get(start..self.end).unwrap_or_default();
        Ok(What::Prepare { name, body })
    }

    /// Goes past a `(…)` that holds no expressions.
    fn parenthesised(&mut self) -> Result<(), Cause<'a>> {
        let outer = self.depth;
        loop {
            match self.token.kind {
                Kind::Open => self.depth += 1,
                Kind::Close => self.depth -= 1,
                Kind::End | Kind::Lost => return self.unread(),
                _ => {}
            }
            self.bump();
            if self.depth == outer {
                return Ok(());
            }
        }
    }

    /// `EXECUTE name [(…)]`, and what may follow it in `CREATE TABLE … AS EXECUTE`.
    fn execute(&mut self) -> Read<'a> {
        self.bump();
        let name = self.name()?;
        self.scan(Body::Query)?;
        Ok(What::Execute { name })
    }

    fn deallocate(&mut self) -> Read<'a> {
        self.bump();
        if self.is(Word::Prepare) && matches!(self.peek().kind, Kind::Word(_) | Kind::Quoted) {
            self.bump();
        }
        if self.take(Word::All) {
            return self.at_last(What::DeallocateAll);
        }
        let name = self.name()?;
        self.at_last(What::Deallocate(name))
    }

    /// `CLOSE name`, `CLOSE ALL`. A name in doubt closes nothing that is known.
    fn close(&mut self) -> Read<'a> {
        self.bump();
        let what = if self.take(Word::All) {
            What::CloseCursor(None)
        } else {
            match self.name() {
                Ok(name) => What::CloseCursor(Some(name)),
                Err(_) => What::Harmless,
            }
        };
        if self.at_end() {
            return Ok(what);
        }
        self.scan(Body::NoCalls)?;
        Ok(What::Harmless)
    }

    /// `SELECT [pg_catalog.]pg_advisory_…(…)` of constant integers, and no more. None: another SELECT.
    /// It calls the function once, so that locks can be counted.
    fn advisory_lock(&mut self) -> Option<What<'a>> {
        let mut ahead = self.lexer;
        let mut function = ahead.token();
        let schema = function.kind == Kind::Word(Word::PgCatalog);
        if schema {
            if ahead.token().kind != Kind::Dot {
                return None;
            }
            function = ahead.token();
        }
        let name = self.written(function);
        let is = |its: &str| name.eq_ignore_ascii_case(its.as_bytes());
        let (all, gives_back, shared) = (
            is("pg_advisory_unlock_all"),
            is("pg_advisory_unlock") || is("pg_advisory_unlock_shared"),
            is("pg_advisory_lock_shared")
                || is("pg_try_advisory_lock_shared")
                || is("pg_advisory_unlock_shared"),
        );
        let takes = shared || is("pg_advisory_lock") || is("pg_try_advisory_lock");
        let open = ahead.token();
        if !(all || gives_back || takes) || open.kind != Kind::Open {
            return None;
        }
        // The user says that it is as if it were not.
        let schema = schema.then_some(b"pg_catalog".as_slice());
        if self.mode.trusted.holds(schema, name) {
            return None;
        }
        let mut token = ahead.token();
        while token.kind != Kind::Close {
            let minus = token.kind == Kind::Other && self.written(token) == b"-";
            if !(minus || matches!(token.kind, Kind::Number | Kind::Comma)) {
                return None;
            }
            token = ahead.token();
        }
        let key = self.text.get(open.end..token.start)?.trim_ascii();
        let end = token.end;
        token = ahead.token();
        if !matches!(token.kind, Kind::End | Kind::Semicolon) {
            return None;
        }
        (self.lexer, self.token, self.end) = (ahead, token, end);
        self.is_more(function);
        let lock = Lock { key, shared };
        Some(match (all, gives_back) {
            (true, _) => What::UnlockAll,
            (_, true) => What::Unlock(lock),
            _ => What::Lock(lock),
        })
    }

    fn declare(&mut self) -> Read<'a> {
        use Word::*;
        self.bump();
        let name = self.name()?;
        while !self.take(Cursor) {
            if !matches!(self.token.kind, Kind::Word(_)) {
                return self.unread();
            }
            self.bump();
        }
        if self.take(With) {
            if !self.take(Hold) || !self.take(For) {
                return self.unread();
            }
            self.inner_query()?;
            let is_ascii = name.bytes().all(|byte| byte.is_ascii());
            return match is_ascii {
                true => Ok(What::HoldCursor(name)),
                false => Err(Reason::CursorWithHold.into()),
            };
        }
        if self.take(Without) && !self.take(Hold) {
            return self.unread();
        }
        if !self.take(For) {
            return self.unread();
        }
        self.inner_query()?;
        Ok(What::Harmless)
    }

    fn explain(&mut self) -> Read<'a> {
        use Word::*;
        self.bump();
        if self.token.kind == Kind::Open {
            let query = matches!(
                self.peek().kind,
                Kind::Open | Kind::Word(Select | With | Values | Table)
            );
            if query {
                return self.query();
            }
            self.parenthesised()?; // options
        } else {
            let _ = self.take(Analyze) || self.take(Analyse);
            self.take(Verbose);
        }
        if matches!(self.token.kind, Kind::Word(Declare | Create | Refresh)) {
            self.is_more(self.token);
        }
        match self.token.kind {
            Kind::Word(Execute) => self.execute(),
            Kind::Word(Declare) => self.declare(),
            Kind::Word(Create) => {
                let what = self.create()?;
                self.explained(what)
            }
            Kind::Word(Refresh) => {
                self.scan(Body::NoCalls)?;
                Ok(What::Harmless)
            }
            _ => {
                self.inner_query()?;
                self.explained(What::Harmless)
            }
        }
    }

    /// Whether `ANALYZE` runs it, and so makes what it says, is not read.
    fn explained(&self, what: What<'a>) -> Read<'a> {
        match self.temporary {
            Temporaries::Made { .. } => Err(Reason::TemporaryObject.into()),
            _ => Ok(what),
        }
    }

    fn copy(&mut self) -> Read<'a> {
        self.bump();
        match self.scan(Body::Copy)? {
            Found::Client => Ok(What::Copy),
            _ => Ok(What::Harmless),
        }
    }

    /// What `DROP` drops.
    fn dropped(&self) -> Redefines<'a> {
        use Word::*;
        let mut ahead = self.lexer;
        match ahead.token().kind {
            // No name or type in a query is one of these.
            Kind::Word(
                Role | User | Group | Database | Tablespace | Index | Trigger | Policy | Rule
                | Publication | Statistics,
            ) => return Redefines::Nothing,
            Kind::Word(Table | View | Sequence) => {}
            _ => return Redefines::Anything,
        }
        let (name, next) = self.name_of_a_thing(ahead);
        match next.kind {
            Kind::End | Kind::Semicolon => name,
            _ => Redefines::Anything, // more names, or CASCADE
        }
    }

    /// `[IF [NOT] EXISTS] [schema.]name`, and the token behind it.
    fn name_of_a_thing(&self, mut ahead: Lexer<'a>) -> (Redefines<'a>, Token) {
        let mut name = ahead.token();
        if self.written(name).eq_ignore_ascii_case(b"if") {
            let mut further = ahead;
            let mut next = further.token();
            if next.kind == Kind::Word(Word::Not) {
                next = further.token();
            }
            if next.kind == Kind::Word(Word::Exists) {
                name = further.token();
                ahead = further;
            }
        }
        let mut next = ahead.token();
        while next.kind == Kind::Dot {
            name = ahead.token();
            next = ahead.token();
        }
        let its = match name.kind {
            Kind::Word(_) | Kind::Quoted => Name::written(self.written(name)),
            _ => None,
        };
        (its.map_or(Redefines::Anything, Redefines::Named), next)
    }

    /// Only what is known to make objects of data. Others load libraries, which may add settings
    /// and hooks (functions and extensions, but also servers and foreign tables: their wrapper's
    /// validator runs), or are too rare to read.
    fn create(&mut self) -> Read<'a> {
        use Word::*;
        self.bump();
        let replace = self.take(Or);
        if replace && !self.take(Replace) {
            return self.unread();
        }
        self.creates = true;
        self.temporary = Temporaries::Beside;
        let by = self.token;
        let is_temporary = matches!(by.kind, Kind::Word(Local | Global | Temp | Temporary));
        if is_temporary {
            let _ = self.take(Local) || self.take(Global);
            if !self.take(Temp) && !self.take(Temporary) {
                return self.opaque_at(Reason::TemporaryObject, by);
            }
        }
        self.take(Unlogged);
        self.take(Recursive);
        let body = match self.token.kind {
            Kind::Word(Function | Procedure) => return self.create_routine(),
            Kind::Word(Word::Other) if self.is_written(b"extension") => {
                return self.create_extension()
            }
            Kind::Word(Table) => Body::Table,
            Kind::Word(Index | Unique) => Body::Index,
            // TRIGGER may have a CONSTRAINT before it.
            Kind::Word(Trigger | Constraint) => Body::Trigger,
            Kind::Word(
                View | Materialized | Schema | Domain | Policy | Rule | Statistics | Publication,
            ) => Body::Query,
            Kind::Word(Sequence | Database | Role | Group | Tablespace) => Body::NoCalls,
            Kind::Word(User) if self.peek().kind != Kind::Word(Mapping) => Body::NoCalls,
            Kind::Word(Type) => return self.create_type(),
            _ if is_temporary => return self.opaque_at(Reason::TemporaryObject, by),
            _ => return self.opaque(Reason::SchemaChange),
        };
        self.redefines = match self.token.kind {
            Kind::Word(Table | View | Sequence | Domain) => self.name_of_a_thing(self.lexer).0,
            Kind::Word(Materialized | Schema) => Redefines::Anything,
            _ => Redefines::Nothing,
        };
        match self.token.kind {
            Kind::Word(Table | View | Sequence) => {
                let behind = self.text.get(self.token.end..).unwrap_or_default();
                let standard_strings = self.mode.standard_conforming_strings;
                match temporary::made(behind, standard_strings, is_temporary) {
                    Ok(made) => self.temporary = made,
                    Err(()) => return self.opaque_at(Reason::TemporaryObject, by),
                }
                if matches!(self.temporary, Temporaries::Made { .. }) {
                    self.redefines = Redefines::Nothing; // it says so itself
                }
            }
            _ if is_temporary => return self.opaque_at(Reason::TemporaryObject, by),
            // It goes with its table.
            Kind::Word(Index | Unique) => self.temporary = Temporaries::Same,
            _ => self.names_temporary = false,
        }
        match self.scan(body)? {
            Found::Execute(name) => Ok(What::Execute { name }),
            _ => Ok(What::Harmless),
        }
    }

    /// Whether the next word is this one, which the reader has no [`Word`] for.
    fn is_written(&self, word: &[u8]) -> bool {
        self.written(self.token).eq_ignore_ascii_case(word)
    }

    /// `CREATE FUNCTION`, `CREATE PROCEDURE` in SQL or PL/pgSQL. Its body is parsed and not run
    /// (`fmgr_sql_validator`, `plpgsql_validator`); other languages load a library. A `SET` of its own is
    /// set and taken back meanwhile (`ProcedureCreate`), and leaves a trace where the setting is a
    /// custom one. The functions themselves are known by no text: who calls one by its name is asked
    /// for it, and what triggers do stays invisible, but for what this very text says of it.
    fn create_routine(&mut self) -> Read<'a> {
        const SAYS: [&[u8]; 8] = [
            b"set_config",
            b"advisory",
            b"temp",
            b"listen",
            b"setseed",
            b"dblink",
            b"execute",
            b"local",
        ];
        self.routine = true;
        let kind = self.token;
        let opaque = self.opaque_at(Reason::SchemaChange, kind);
        self.redefines = Redefines::Anything;
        self.bump();
        let mut name = self.token;
        self.setting()?;
        if self.token.kind != Kind::Open {
            return opaque;
        }
        let start = name.start;
        let mut lexer = Lexer::new(self.text.get(start..self.end).unwrap_or_default(), true);
        loop {
            let next = lexer.token();
            if next.kind == Kind::End {
                break;
            }
            name = Token {
                start: start + next.start,
                end: start + next.end,
                ..next
            };
        }
        self.routines = match Name::written(self.written(name)) {
            Some(name) => Routines::Made(name),
            None => return self.opaque_at(Reason::NameInDoubt, name),
        };
        let mut is_known = false;
        while !self.at_end() {
            match self.token.kind {
                Kind::Open => self.depth += 1,
                Kind::Close if self.depth == 0 => return opaque,
                Kind::Close => self.depth -= 1,
                Kind::Word(Word::PgTemp) => return self.opaque(Reason::TemporaryObject),
                Kind::Word(Word::Begin) if self.peek().kind == Kind::Word(Word::Atomic) => {
                    return opaque;
                }
                _ if self.depth > 0 => {}
                Kind::Word(Word::Set) => {
                    self.bump();
                    if !self.is_written(b"search_path") {
                        return opaque;
                    }
                }
                Kind::Word(Word::Other) if self.is_written(b"language") => {
                    self.bump();
                    let written = self.written(self.token);
                    let language = set_config::plain(written).unwrap_or(written);
                    is_known = language.eq_ignore_ascii_case(b"sql")
                        || language.eq_ignore_ascii_case(b"plpgsql");
                    if !is_known {
                        return opaque;
                    }
                }
                _ => {}
            }
            self.bump();
        }
        let text = self
            .text
            .get(self.first.start..self.end)
            .unwrap_or_default();
        let says = |part: &&[u8]| {
            text.windows(part.len())
                .any(|its| its.eq_ignore_ascii_case(part))
        };
        if !is_known || SAYS.iter().any(says) {
            return opaque;
        }
        Ok(What::Harmless)
    }

    /// `CREATE EXTENSION [IF NOT EXISTS] name [WITH] [SCHEMA s] [VERSION v]`, of those that come with
    /// PostgreSQL and whose script, which was read, makes objects alone. Its settings are taken back
    /// (`execute_extension_script`); its library has none, or such as stay at their defaults.
    fn create_extension(&mut self) -> Read<'a> {
        const KNOWN: [&[u8]; 20] = [
            b"btree_gin",
            b"btree_gist",
            b"citext",
            b"cube",
            b"dict_int",
            b"dict_xsyn",
            b"earthdistance",
            b"fuzzystrmatch",
            b"hstore",
            b"intagg",
            b"intarray",
            b"ltree",
            b"pg_stat_statements",
            b"pg_trgm",
            b"pgcrypto",
            b"plpgsql",
            b"seg",
            b"tablefunc",
            b"unaccent",
            b"uuid-ossp",
        ];
        let kind = self.token;
        let opaque = self.opaque_at(Reason::SchemaChange, kind);
        let (name, _) = self.name_of_a_thing(self.lexer);
        self.redefines = Redefines::Anything;
        let Redefines::Named(name) = name else {
            return opaque;
        };
        let known = |known: &&[u8]| name.bytes().eq(known.iter().copied());
        if !KNOWN.iter().any(known) {
            return opaque;
        }
        while !self.at_end() {
            // What it needs besides may be anything.
            if self.is_written(b"cascade") || self.is(Word::PgTemp) {
                return opaque;
            }
            self.bump();
        }
        Ok(What::Harmless)
    }

    /// Whether `DROP` may drop functions.
    fn drops_routines(&self) -> bool {
        use Word::*;
        let mut ahead = self.lexer;
        let none = matches!(
            ahead.token().kind,
            Kind::Word(
                Role | User
                    | Group
                    | Database
                    | Tablespace
                    | Index
                    | Trigger
                    | Policy
                    | Rule
                    | Publication
                    | Statistics
                    | Table
                    | View
                    | Sequence
                    | Materialized
            )
        );
        loop {
            let next = ahead.token();
            match next.kind {
                Kind::End | Kind::Lost | Kind::Semicolon => return !none,
                _ if self.written(next).eq_ignore_ascii_case(b"cascade") => return true,
                _ => {}
            }
        }
    }

    /// `CREATE TYPE … AS ENUM (…)` or `AS (…)`: other types bring functions of their own.
    fn create_type(&mut self) -> Read<'a> {
        self.redefines = self.name_of_a_thing(self.lexer).0;
        self.bump();
        let name = self.token;
        if mentions_pg_temp(self.setting()?.as_written()) {
            return self.opaque_at(Reason::TemporaryObject, name);
        }
        if self.take(Word::As) && (self.token.kind == Kind::Open || self.is(Word::Enum)) {
            self.scan(Body::NoCalls)?;
            return Ok(What::Harmless);
        }
        self.opaque_at(Reason::SchemaChange, name)
    }

    fn alter(&mut self) -> Read<'a> {
        use Word::*;
        self.bump();
        if matches!(
            self.token.kind,
            Kind::Word(Table | View | Materialized | Sequence | Schema | Type | Domain)
        ) {
            self.redefines = Redefines::Anything;
        }
        self.names_temporary = false;
        let behind = self.text.get(self.token.end..).unwrap_or_default();
        let strings = self.mode.standard_conforming_strings;
        self.temporary = match self.token.kind {
            Kind::Word(Table) => temporary::altered(behind, strings),
            _ => Temporaries::Altered,
        };
        let body = match self.token.kind {
            Kind::Word(
                Table | Index | View | Materialized | Sequence | Schema | Type | Domain | Policy
                | Trigger | Rule | Statistics | Publication | Tablespace,
            ) => Body::Query,
            Kind::Word(Default) => Body::NoCalls, // PRIVILEGES
            Kind::Word(User) if self.peek().kind == Kind::Word(Mapping) => {
                return self.opaque(Reason::SchemaChange);
            }
            // A new session takes its defaults from there.
            Kind::Word(Role | User | Group | Database) => {
                self.temporary = Temporaries::Same;
                let what = self.token;
                let mut renames = false;
                if let Some(defaults) = self.defaults() {
                    self.scan(Body::NoCalls)?;
                    return Ok(defaults);
                }
                while !self.at_end() {
                    if matches!(self.token.kind, Kind::Word(Set | Reset)) {
                        return self.opaque_at(Reason::AlteredDefaults, what);
                    }
                    match self.token.kind {
                        Kind::Open | Kind::Close => return self.unread(),
                        _ => {
                            renames |= self.is_written(b"rename");
                            self.bump();
                        }
                    }
                }
                if renames && what.kind != Kind::Word(Database) {
                    let by = self.written(self.first);
                    return Ok(What::Roles { by });
                }
                return Ok(What::Harmless);
            }
            _ => return self.opaque(Reason::SchemaChange),
        };
        self.scan(body)?;
        Ok(What::Harmless)
    }

    /// `ALTER ROLE r [IN DATABASE d] SET …`, `ALTER DATABASE d SET …`, or with `RESET`, of a setting with a
    /// plain name. Otherwise nothing, and nothing is taken.
    ///
    /// The server looks the setting up to check its value (`validate_option_array_item` in guc.c): one that
    /// it does not know, a name with a point, is known to this session from then on, whatever becomes of
    /// the statement. `RESET ALL` does so with all that the catalog names. So both are no defaults alone.
    /// The value is tested and not assigned (`PGC_S_TEST`), and a constant.
    fn defaults(&self) -> Option<What<'a>> {
        use Word::*;
        const ANYONE: [&[u8]; 3] = [b"current_user", b"current_role", b"session_user"];
        let mut ahead = self.lexer;
        let thing = |token: Token| match token.kind {
            Kind::Word(_) | Kind::Quoted => Some(self.written(token)),
            _ => None,
        };
        let written = thing(ahead.token())?;
        let name = Name::written(written)?;
        let (mut role, mut database) = (None, None);
        let mut next = ahead.token();
        match self.token.kind {
            Kind::Word(Database) => database = Some(name),
            Kind::Word(Role | User) => {
                let is = |word: &&[u8]| written.eq_ignore_ascii_case(word);
                let anyone = is(&b"all".as_slice()) || is(&b"user".as_slice());
                role = (!anyone && !ANYONE.iter().any(is)).then_some(name);
                if next.kind == Kind::Word(In) {
                    if ahead.token().kind != Kind::Word(Database) {
                        return None;
                    }
                    database = Some(Name::written(thing(ahead.token())?)?);
                    next = ahead.token();
                }
            }
            _ => return None,
        }
        let setting = ahead.token();
        // A quoted name may hold a point.
        let is_plain = matches!(setting.kind, Kind::Word(word) if word != All)
            && ahead.token().kind != Kind::Dot;
        (matches!(next.kind, Kind::Word(Set | Reset)) && is_plain).then_some(())?;
        let by = self.written(self.token);
        Some(What::Defaults { role, database, by })
    }

    /// Reads to the statement's end, and fails at the first thing that may change the session.
    fn scan(&mut self, body: Body) -> Result<Found<'a>, Cause<'a>> {
        let mut scan = Scan::new(body, self.creates);
        loop {
            let token = self.token;
            match token.kind {
                // CREATE TABLE … AS EXECUTE.
                Kind::Word(Word::Execute)
                    if body == Body::Table
                        && self.depth == 0
                        && scan.prev.kind == Kind::Word(Word::As) =>
                {
                    self.bump();
                    scan.found = Found::Execute(self.name()?);
                    (scan.prev, scan.prev2) = (NONE, Kind::End);
                    scan.name.parts = 0;
                    continue;
                }
                Kind::Word(word) => {
                    scan.note_name(token);
                    self.scan_word(word, token, &mut scan)?;
                }
                Kind::Quoted => {
                    scan.note_name(token);
                    self.scan_quoted(token, &mut scan)?;
                }
                Kind::Open => self.scan_open(&mut scan)?,
                Kind::Close => self.scan_close(&mut scan)?,
                Kind::Dot => {}
                Kind::String => {
                    if self.in_transaction && self.may_name_a_moment(token) {
                        self.is_more(token);
                    }
                    scan.name.parts = 0;
                }
                Kind::UnicodeQuoted => return self.opaque(Reason::NameInDoubt),
                Kind::Semicolon if self.depth == 0 => break,
                Kind::End | Kind::Lost => break,
                _ => scan.name.parts = 0,
            }
            scan.prev2 = scan.prev.kind;
            scan.prev = token;
            self.bump();
        }
        if scan.settings && scan.changes {
            return Err(Reason::PgSettings.into());
        }
        Ok(scan.found)
    }

    #[inline]
    fn scan_word(
        &mut self,
        word: Word,
        token: Token,
        scan: &mut Scan<'a>,
    ) -> Result<(), Cause<'a>> {
        use Word::*;
        let prev = scan.prev.kind;
        match word {
            Other if self.in_transaction && calls::mentions_statistics(self.written(token)) => {
                self.is_more(token);
            }
            PgTemp => self.names_pg_temp(prev)?,
            PgSettings => scan.settings = true,
            Insert | Update | Delete | Merge | Create => {
                scan.changes = true;
                self.is_more(token);
            }
            // Its time, what it holds.
            CurrentDate | CurrentTime | CurrentTimestamp | LocalTime | LocalTimestamp | PgLocks => {
                self.is_more(token);
            }
            // FOR SHARE, FOR KEY SHARE; the others say UPDATE.
            Share if matches!(prev, Kind::Word(For | Key)) => self.is_more(token),
            // SELECT … INTO makes a table.
            Into if !matches!(prev, Kind::Word(Insert | Merge)) => {
                self.redefines = Redefines::Anything;
                self.is_more(token);
                self.select_into()?;
            }
            // In CREATE SCHEMA. (`INTO TEMP` was read at INTO.)
            Temp | Temporary => {
                let made = |kind| matches!(kind, Kind::Word(Create | Replace));
                let is_scope = matches!(prev, Kind::Word(Local | Global));
                if made(prev) || is_scope && made(scan.prev2) {
                    return self.opaque(Reason::TemporaryObject);
                }
            }
            Stdin | Stdout
                if scan.body == Body::Copy
                    && self.depth == 0
                    && matches!(prev, Kind::Word(From | To)) =>
            {
                scan.found = Found::Client;
            }
            _ => {}
        }
        Ok(())
    }

    fn scan_quoted(&mut self, token: Token, scan: &mut Scan<'a>) -> Result<(), Cause<'a>> {
        let name = self.written(token);
        if mentions_pg_temp(name) {
            self.names_pg_temp(scan.prev.kind)?;
        }
        scan.settings |= name == b"\"pg_settings\"";
        if self.in_transaction && (calls::mentions_statistics(name) || name == b"\"pg_locks\"") {
            self.is_more(token);
        }
        Ok(())
    }

    #[inline]
    fn scan_open(&mut self, scan: &mut Scan<'a>) -> Result<(), Cause<'a>> {
        let prev = scan.prev.kind;
        if scan.name.parts > 0 && matches!(prev, Kind::Word(_) | Kind::Quoted) {
            self.call(Site {
                last: scan.prev,
                ..scan.name
            })?;
        }
        // DISTINCT ON (…), OPERATOR(…), RETURNING WITH (…)
        let operator = match prev {
            Kind::Word(Word::Operator) => true,
            Kind::Word(Word::On) => scan.prev2 == Kind::Word(Word::Distinct),
            Kind::Word(Word::With) => scan.prev2 == Kind::Word(Word::Returning),
            _ => false,
        };
        if self.depth >= DEEPEST {
            return self.unread();
        }
        self.depth += 1;
        self.operators = self.operators << 1 | u64::from(operator);
        self.opened = true;
        scan.name.parts = 0;
        Ok(())
    }

    #[inline]
    fn scan_close(&mut self, scan: &mut Scan<'a>) -> Result<(), Cause<'a>> {
        if self.depth == 0 {
            return Err(Reason::TextInDoubt.into());
        }
        self.depth -= 1;
        scan.is_operator = self.operators & 1 != 0;
        self.operators >>= 1;
        scan.name.parts = 0;
        Ok(())
    }

    /// At `pg_temp`, or a longer name around it. As a relation's schema it is harmless where nothing is
    /// made: `call` looks at functions.
    #[cold]
    fn names_pg_temp(&self, before: Kind) -> Result<(), Cause<'a>> {
        let is_schema = temporary::is_pg_temp(self.written(self.token))
            && before != Kind::Dot
            && self.peek().kind == Kind::Dot;
        if self.names_temporary && is_schema {
            return Ok(());
        }
        self.opaque(Reason::TemporaryObject)
    }

    /// At the `INTO` of a `SELECT`, which makes a table.
    #[cold]
    fn select_into(&mut self) -> Result<(), Cause<'a>> {
        use Word::*;
        // A statement has one; each is looked for to the text's end.
        if matches!(self.temporary, Temporaries::Made { .. }) {
            return self.opaque(Reason::TemporaryObject);
        }
        let behind = self.text.get(self.token.end..).unwrap_or_default();
        let made = temporary::into(behind, self.mode.standard_conforming_strings);
        let is_query = matches!(
            self.first.kind,
            Kind::Open | Kind::Word(Select | With | Explain)
        );
        match made {
            Ok(made @ Temporaries::Made { .. }) if is_query => {
                self.temporary = made;
                self.redefines = Redefines::Nothing; // it says so itself
            }
            Ok(Temporaries::Made { .. }) | Err(()) => {
                let mut ahead = self.lexer;
                return self.opaque_at(Reason::TemporaryObject, ahead.token());
            }
            Ok(made) => self.temporary = made,
        }
        Ok(())
    }

    /// Whether a string constant may be the time of its transaction (datatype-datetime.html, "Special
    /// Values"): `now`, `today` and their like, or spelled so that it cannot be told.
    #[cold]
    fn may_name_a_moment(&self, token: Token) -> bool {
        const WORDS: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];
        let text = self.written(token);
        // 'n' and 'ow' on two lines are one constant; U&'' and E'' may spell a letter.
        let letter = |byte: u8| byte.is_ascii_alphanumeric();
        let spelled = |pair: &[u8]| pair[0] == b'\\' && letter(pair[1]);
        let quotes = text.iter().filter(|byte| **byte == b'\'').count();
        if quotes > 2 && text.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
            || text.first().is_some_and(|byte| matches!(byte, b'u' | b'U'))
            || text.windows(2).any(spelled)
        {
            return true;
        }
        WORDS.iter().any(|word| {
            (0..text.len().saturating_sub(word.len())).any(|at| {
                let end = at + word.len();
                text.get(at..end)
                    .is_some_and(|part| part.eq_ignore_ascii_case(word))
                    && !(at > 0 && text.get(at - 1).copied().is_some_and(letter))
                    && !text.get(end).copied().is_some_and(letter)
            })
        })
    }

    /// A name before `(`: fails if it is a call of a function that is not known to be harmless.
    #[inline]
    fn call(&mut self, call: Site) -> Result<(), Cause<'a>> {
        if let (1, Kind::Word(word)) = (call.parts, call.last.kind) {
            if word.takes_parenthesis() {
                return Ok(());
            }
        }
        let name = self.written(call.last);
        let builtin = call.parts == 1
            || (call.parts == 2
                && (call.first.kind == Kind::Word(Word::PgCatalog)
                    || self.written(call.first) == b"\"pg_catalog\""));
        if builtin && calls::harmless(self.mode.server, name) {
            if self.in_transaction && calls::more_than_reads(name) {
                self.is_more(call.last);
            }
            return Ok(());
        }
        self.unknown_call(call, name)
    }

    #[cold]
    fn unknown_call(&mut self, call: Site, name: &'a [u8]) -> Result<(), Cause<'a>> {
        let place = Place {
            lexer: self.lexer,
            text: self.text,
            body: call.body,
            depth: self.depth,
            first_open: !self.opened,
            name: call.last,
            alone: call.parts == 1,
            before: call.before,
            before2: call.before2,
            before_is_operator: call.before_is_operator,
        };
        if call.body == Body::NoCalls || !place.is_call() {
            return Ok(());
        }
        if call.parts == 1 && calls::is_grammar(self.mode.server, name) {
            return Ok(());
        }
        if self
            .written(call.before)
            .eq_ignore_ascii_case(b"tablesample")
            && calls::is_method(name)
        {
            return Ok(());
        }
        let schema = (call.parts == 2).then(|| self.written(call.first));
        if call.parts <= 2 && self.mode.trusted.holds(schema, name) {
            self.vouched(call.last);
            return Ok(());
        }
        if call.parts > 1 && mentions_pg_temp(self.written(call.first)) {
            return self.opaque_at(Reason::TemporaryObject, call.first);
        }
        if calls::is_set_config(name) {
            return Err(Reason::SetConfigUnread.into());
        }
        if calls::known_not_harmless(self.mode.server, name) {
            return Err(Cause {
                reason: Reason::SessionFunction,
                detail: name,
            });
        }
        if self.mode.trusted.everything() {
            self.vouched(call.last);
            return Ok(());
        }
        // An extension's, perhaps: the server will say.
        if call.parts <= 2 && self.calls.add(name) {
            self.is_more(call.last);
            return Ok(());
        }
        Err(Cause {
            reason: Reason::UnknownFunction,
            detail: name,
        })
    }

    /// The user vouches for what a function does to its session, not to a transaction: it may well write.
    fn vouched(&mut self, function: Token) {
        self.vouched = true;
        self.is_more(function);
    }

    /// Goes to the statement's end, wherever its reading stopped.
    fn finish(&mut self) {
        use Word::*;
        // BEGIN ATOMIC … END, and CASE … END within.
        let mut blocks = 0u32;
        let mut before = Kind::End;
        loop {
            match self.token.kind {
                Kind::Lost => return,
                Kind::End => {
                    if self.depth != 0 {
                        self.lost = Some(Reason::TextInDoubt);
                    }
                    return;
                }
                Kind::Semicolon if self.depth == 0 && blocks == 0 => return,
                Kind::Open => self.depth = self.depth.saturating_add(1),
                Kind::Close if self.depth == 0 => {
                    self.lost = Some(Reason::TextInDoubt);
                    return;
                }
                Kind::Close => self.depth -= 1,
                // Behind a point or AS it is somebody's name.
                Kind::Word(word)
                    if self.routine && !matches!(before, Kind::Dot | Kind::Word(As)) =>
                {
                    match word {
                        Begin if self.peek().kind == Kind::Word(Atomic) => blocks += 1,
                        Case if blocks > 0 => blocks += 1,
                        End => blocks = blocks.saturating_sub(1),
                        _ => {}
                    }
                }
                _ => {}
            }
            before = self.token.kind;
            self.bump();
        }
    }
}

/// What a scan came by.
enum Found<'a> {
    Nothing,
    /// `AS EXECUTE name`
    Execute(Name<'a>),
    /// COPY's other end is the client.
    Client,
}

/// A name that may be before `(`, and what is before the name.
#[derive(Clone, Copy)]
struct Site {
    body: Body,
    /// Its last part.
    last: Token,
    /// How many there are.
    parts: u32,
    first: Token,
    before: Token,
    before2: Kind,
    before_is_operator: bool,
}

/// No token.
const NONE: Token = Token {
    kind: Kind::End,
    start: 0,
    end: 0,
};

/// What a scan has read.
struct Scan<'a> {
    body: Body,
    /// The last two tokens.
    prev: Token,
    prev2: Kind,
    /// The name that may end in the last token; `last` is not told yet.
    name: Site,
    /// The last token is a `)` behind which an expression may begin.
    is_operator: bool,
    /// It changes something.
    changes: bool,
    /// It names pg_settings.
    settings: bool,
    found: Found<'a>,
}

impl Scan<'_> {
    fn new(body: Body, changes: bool) -> Self {
        // What is behind COPY itself is a table's name.
        let kind = match body {
            Body::Copy => Kind::Word(Word::Copy),
            _ => Kind::End,
        };
        Scan {
            body,
            prev: Token { kind, ..NONE },
            prev2: Kind::End,
            name: Site {
                body,
                last: NONE,
                parts: 0,
                first: NONE,
                before: NONE,
                before2: Kind::End,
                before_is_operator: false,
            },
            is_operator: false,
            changes,
            settings: false,
            found: Found::Nothing,
        }
    }

    /// A name begins with the token, or goes on behind a point.
    #[inline]
    fn note_name(&mut self, token: Token) {
        let name = &mut self.name;
        if self.prev.kind == Kind::Dot {
            // 0 parts: behind something else than a name.
            name.parts = if name.parts == 0 {
                9
            } else {
                name.parts.saturating_add(1)
            };
        } else {
            (name.parts, name.first) = (1, token);
            name.before = self.prev;
            name.before2 = self.prev2;
            name.before_is_operator = self.is_operator;
        }
    }
}
