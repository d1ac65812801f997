//! Why an inherited session cannot be resumed: the closed list.
//!
//! Each reason has a code, which never changes (the log as JSON, `forkguard status --json`,
//! `forkguard metrics`), a sentence for the reader of the log, and what to do about it. A test holds
//! `docs/TROUBLESHOOTING.md` to this list.

use core::fmt;

macro_rules! reasons {
    ($($name:ident $code:literal $sentence:literal $hint:literal;)*) => {
        /// Why an inherited session is lost.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        #[allow(missing_docs)] // each has its sentence
        pub enum Reason { $($name,)* }

        impl Reason {
            /// All of them.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// Its name for programs: never another one.
            pub const fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)* }
            }

            /// What it means.
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$name => $sentence,)* }
            }

            /// What to do about it.
            pub const fn hint(self) -> &'static str {
                match self { $(Reason::$name => $hint,)* }
            }
        }
    };
}

reasons! {
    // What a statement's text says.
    UnknownFunction "unknown_function"
        "it called a function that forkguard does not know"
        "if the function leaves its session alone, name it in FORKGUARD_TRUST_FUNCTIONS";
    SessionFunction "session_function"
        "it called a function that changes its session in a way that cannot be repeated"
        "call it on a connection that is opened after the fork";
    SetConfigUnread "set_config_unread"
        "it called set_config() in a form that forkguard does not follow"
        "use SET, or SELECT set_config('name', 'value', false) as a statement of its own";
    FunctionByNumber "function_by_number"
        "it called a function through PQfn"
        "call it with SELECT";
    AdvisoryLock "advisory_lock"
        "it holds, or may hold, an advisory lock of its session"
        "release the lock before the fork, with the same arguments that took it; or run DISCARD ALL";
    TemporaryObject "temporary_object"
        "it has a temporary object, or made one that forkguard does not follow"
        "drop it before the fork by its name, or use it on a connection that is opened after the fork";
    TemporarySearchPath "temporary_search_path"
        "its search_path names pg_temp"
        "use temporary objects on a connection that is opened after the fork";
    AnyEffect "any_effect"
        "it ran a statement that may do anything to its session"
        "run it on a connection that is opened after the fork, or closed before it";
    PgSettings "pg_settings"
        "it may have changed settings through pg_settings"
        "use SET";
    AlteredDefaults "altered_defaults"
        "it changed, or may have changed, the defaults of its own role or database"
        "run it on a connection that is closed before the fork";
    RandomSeed "random_seed"
        "it set the seed of random()"
        "set the seed in the child";
    CursorWithHold "cursor_with_hold"
        "it has a cursor that stays open after its transaction (WITH HOLD)"
        "close the cursor before the fork; Django opens one in iterator() outside of atomic()";
    TwoPhase "two_phase"
        "it prepared a two-phase transaction"
        "run it on a connection that is closed before the fork";
    Unread "unread"
        "it ran a statement that forkguard does not read to its end"
        "run it on a connection that is closed before the fork";
    SchemaChange "schema_change"
        "it created or altered something that may load code into its session or change it"
        "run migrations on a connection that is closed before the fork";
    NameInDoubt "name_in_doubt"
        "it used a name that the server may read differently from forkguard"
        "use names in plain ASCII, of 63 bytes at most";
    SearchPathInDoubt "search_path_in_doubt"
        "it set search_path with an escaped string"
        "write the schemas as plain names";
    TextInDoubt "text_in_doubt"
        "it sent a text that forkguard cannot split into statements"
        "send one statement at a time";
    HiddenAscii "hidden_ascii"
        "it sent text in an encoding whose characters can contain ASCII bytes"
        "use UTF-8 as client_encoding";

    // The moment of the fork.
    NotIdle "not_idle"
        "it was not idle at the fork"
        "read all results before the fork";
    TransactionMore "transaction_more"
        "it was in a transaction that had done more than read"
        "commit or roll back before the fork";
    TransactionSnapshot "transaction_snapshot"
        "it was in a transaction that keeps its first snapshot (repeatable read or serializable)"
        "commit or roll back before the fork";
    ParentWrote "parent_wrote"
        "it was in a transaction that has written or holds locks, as the server says"
        "commit or roll back before the fork";
    CommandUnderWay "command_under_way"
        "a command was under way at the fork"
        "read all results before the fork";
    PipelineMode "pipeline_mode"
        "it was in pipeline mode at the fork"
        "leave pipeline mode before the fork";
    ThreadInside "thread_inside"
        "a thread of the parent was in a call on it at the fork"
        "fork while no other thread uses the connection";
    CallLeft "call_left"
        "a call on it ended by a jump or a cancelled thread, or two threads used it at once"
        "use a connection from one thread at a time";

    // What was sent, answered and counted.
    CopyAmongChanges "copy_among_changes"
        "a COPY was sent together with other statements"
        "send COPY as a statement of its own";
    CommandsOverlapped "commands_overlapped"
        "two commands overlapped"
        "read all results of a command before the next";
    NoResult "no_result"
        "a command had no result"
        "open the connection after the fork";
    AnswerLost "answer_lost"
        "libpq lost the answer to a statement that changes its state"
        "the parent lacked memory; open the connection after the fork";
    PipelineUnmatched "pipeline_unmatched"
        "a pipeline answered more statements than forkguard saw sent"
        "open the connection after the fork";
    PipelineLeft "pipeline_left"
        "a pipeline was left before all its results were read"
        "read all results of a pipeline before leaving it";
    TransactionUnseen "transaction_unseen"
        "a transaction began or ended where forkguard did not see it"
        "send one statement at a time; do not begin or end transactions in procedures";
    BatchFailed "batch_failed"
        "a text of several statements failed, and some may have changed its state"
        "send one statement at a time";
    SavepointUnseen "savepoint_unseen"
        "it used a savepoint that forkguard did not see"
        "send one statement at a time";
    StateUnknown "state_unknown"
        "libpq does not report the state of its transaction"
        "open the connection after the fork";

    // Prepared statements and settings.
    PreparedTwice "prepared_twice"
        "a statement was prepared twice under one name"
        "prepare after the fork";
    PreparedUnderLocal "prepared_under_local"
        "a statement was prepared under SET LOCAL"
        "prepare outside of the transaction, or after the fork";
    PreparedUnderRolledBack "prepared_under_rolled_back"
        "a statement was prepared under settings rolled back later"
        "prepare after the fork";
    PreparedRedefined "prepared_redefined"
        "it created, altered or dropped a table, type or the like that a statement prepared before may use"
        "prepare after such changes, or DEALLOCATE ALL before the fork";
    PreparedMoment "prepared_moment"
        "a prepared statement holds the moment at which it was prepared"
        "use now() or CURRENT_DATE instead of a constant such as 'now' or 'today'";
    PreparedNameTooLong "prepared_name_too_long"
        "a prepared statement's name is too long"
        "use names of 63 bytes at most";
    PreparedUnseen "prepared_unseen"
        "it executed a prepared statement that forkguard did not see prepared"
        "prepare through the same libpq, with a statement of its own";
    PreparedChange "prepared_change"
        "it may have executed a prepared statement that changes its state"
        "execute it without EXPLAIN, and outside of CREATE TABLE AS";
    TextSearchLookup "text_search_lookup"
        "default_text_search_config was looked up along the search path"
        "write it with its schema: pg_catalog.english";
    TextSetting "text_setting"
        "a setting changed that decides how its earlier statements are read"
        "set client_encoding and standard_conforming_strings first, and once";
    TextInFlight "text_in_flight"
        "a text was sent while a setting that decides how it is read might be changing"
        "set client_encoding and standard_conforming_strings before the pipeline";
    ConstantSetting "constant_setting"
        "a setting changed on which constants of a prepared statement depend"
        "set DateStyle, TimeZone and their like first, and prepare afterwards";
    ExtensionSetting "extension_setting"
        "it set and reset a setting that may belong to an extension"
        "set settings of extensions after the fork";
    CustomSettingFailed "custom_setting_failed"
        "a change of a custom setting failed: it may have left a trace"
        "open the connection after the fork";
    DiscardFailed "discard_failed"
        "DISCARD ALL failed"
        "open the connection after the fork";
    NotAscii "not_ascii"
        "the name of a setting or a channel is not ASCII"
        "use an ASCII name";

    // The journal itself.
    JournalFull "journal_full"
        "its journal reached FORKGUARD_JOURNAL_KB"
        "raise FORKGUARD_JOURNAL_KB, or send DISCARD ALL, which empties it";
    NoMemory "no_memory"
        "no memory for its journal or its replay"
        "give the program more memory";

    // The connection.
    NotEstablished "not_established"
        "it was not established"
        "connect before the fork or after it, not across it";
    DescriptorUnknown "descriptor_unknown"
        "its descriptor is not known as a session"
        "open the connection after the fork";
    HandedOver "handed_over"
        "it was handed over by the parent"
        "open a connection of the child's own";
    DescriptorChanged "descriptor_changed"
        "its descriptor was changed"
        "leave the descriptors of libpq alone";
    DescriptorClosed "descriptor_closed"
        "its descriptor was closed or replaced"
        "leave the descriptors of libpq alone";
    DescriptorKept "descriptor_kept"
        "its descriptor could not be replaced"
        "make the child with fork(), or open connections of its own in it";
    BytesUnseen "bytes_unseen"
        "bytes were sent on it that no call of libpq explains"
        "leave the descriptors of libpq alone";
    Broken "broken"
        "it was broken before the fork"
        "nothing: the parent's session is gone, too";
    PeerUnknown "peer_unknown"
        "its peer is not known"
        "allow getpeername()";
    ClientChanged "client_changed"
        "something that a new connection would read has changed since it was opened"
        "connect after the change";

    // The new session.
    DialFailed "dial_failed"
        "reconnecting failed"
        "see the server's message; each child has sessions of its own now, which count for max_connections";
    OtherDescriptor "other_descriptor"
        "the new session got another descriptor number"
        "open the connection after the fork";
    OtherAddress "other_address"
        "reconnecting reached another address"
        "connect to one server by its address, or open the connection after the fork";
    OtherPlace "other_place"
        "the new connection differs from the parent's"
        "connect to one server by its address, or open the connection after the fork";
    NoAnswer "no_answer"
        "the server does not answer in time"
        "see whether the server is up; connect_timeout says how long to wait, or else FORKGUARD_CONNECT_WAIT";
    ReplayFailed "replay_failed"
        "its replay failed"
        "see the server's message";
    ReplayDiffers "replay_differs"
        "a setting has another value after its replay"
        "set it with SET in the program";
    ParentUnknown "parent_unknown"
        "the server did not say what the parent's backend holds"
        "open the connection after the fork";
    ParentLock "parent_lock"
        "the parent's backend holds an advisory lock"
        "take session locks on a connection that is opened after the fork, or pg_advisory_xact_lock()";
    ParentTemporaryTables "parent_temporary_tables"
        "the parent's backend has, or may have, temporary tables"
        "use temporary tables on a connection that is opened after the fork";
    ServerRestarted "server_restarted"
        "the server has been restarted since, or another one took its place"
        "nothing: the parent's session is gone, too";
    OtherVersion "other_version"
        "the server is of another version than it, or a proxy before it, reports"
        "let the proxy report the server's own server_version, or open the connection after the fork";
}

impl Reason {
    /// The reason of that code.
    pub fn of_code(code: &str) -> Option<Reason> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.code() == code)
    }
}

/// A reason, and what it is about in this case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cause<'a> {
    /// Why.
    pub reason: Reason,
    /// The function, setting or statement, as written, or the server's words; may be empty.
    pub detail: &'a [u8],
}

/// As long as a name of PostgreSQL can be (NAMEDATALEN - 1).
pub const LONGEST_NAME: usize = 63;

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.sentence())?;
        if !self.detail.is_empty() {
            let shown = self.detail.get(..LONGEST_NAME).unwrap_or(self.detail);
            write!(f, ": {}", shown.escape_ascii())?;
        }
        Ok(())
    }
}

impl From<Reason> for Cause<'_> {
    fn from(reason: Reason) -> Self {
        Cause {
            reason,
            detail: b"",
        }
    }
}
