//! Every function that libpq exports, 9.6 to 18: name, number of arguments,
//! and whether calls to it pass the shims.
//!
//! *redirected*: it talks to the server, or answers about a state that is another in a
//! child; listed by the file that has its shim. *called*: left as
//! it is, and called by the shims themselves. *local*: it touches the memory of a connection or a
//! result only, or needs no connection. *never*: nothing of libpq's own.
//!
//! Arguments and results are all of the integer class (libpq-fe.h: pointers,
//! `int`, `Oid`, `size_t`, `pg_int64`), so a call can be passed on without
//! their types: each fills one register or one place on the stack, and a
//! function that returns nothing leaves a register that nobody reads.
//! libpq takes no name back (its exports.txt only grows), so the newest
//! library's list holds the older ones'.

use crate::objects::elf::hash;

/// Gives the table to the macro `$callback`, behind what else it is given:
///
/// `$callback! { $more redirected { SHIMS { NAME ARITY, … } … } called { NAME ARITY, … } local { NAME ARITY, … } never { NAME, … } }`
macro_rules! entry_points {
    ($callback:ident! { $($more:tt)* }) => {
        $callback! {
            $($more)*
            redirected {
                established {
                    PQconnectdb 1, PQconnectdbParams 3, PQsetdbLogin 7, PQconnectStart 1,
                    PQconnectStartParams 3, PQconnectPoll 1, PQreset 1, PQresetStart 1,
                    PQresetPoll 1, PQfinish 1, PQsetNoticeReceiver 3,
                }
                status_queries {
                    PQstatus 1, PQtransactionStatus 1, PQsocket 1, PQbackendPID 1,
                    PQescapeStringConn 5, PQescapeLiteral 3, PQescapeIdentifier 3,
                    PQescapeByteaConn 4, PQerrorMessage 1, PQnotifies 1,
                }
                commands {
                    PQexec 2, PQexecParams 8, PQexecPrepared 7, PQprepare 5, PQdescribePrepared 2,
                    PQdescribePortal 2, PQclosePrepared 2, PQclosePortal 2, PQfn 7,
                    PQchangePassword 3,
                    PQsendQuery 2, PQsendQueryParams 8, PQsendQueryPrepared 7, PQsendPrepare 5,
                    PQsendDescribePrepared 2, PQsendDescribePortal 2, PQsendClosePrepared 2,
                    PQsendClosePortal 2,
                    PQgetResult 1, PQconsumeInput 1, PQflush 1,
                    PQenterPipelineMode 1, PQexitPipelineMode 1, PQpipelineSync 1,
                    PQsendPipelineSync 1, PQsendFlushRequest 1,
                    PQputCopyData 3, PQputCopyEnd 2, PQgetCopyData 3, PQgetline 3,
                    PQgetlineAsync 3, PQputline 2, PQputnbytes 3, PQendcopy 1,
                    PQsetClientEncoding 2, PQencryptPasswordConn 4,
                    lo_open 3, lo_close 2, lo_read 4, lo_write 4, lo_lseek 4, lo_lseek64 4,
                    lo_creat 2, lo_create 2, lo_tell 2, lo_tell64 2, lo_truncate 3,
                    lo_truncate64 3, lo_unlink 2, lo_import 2, lo_import_with_oid 3, lo_export 3,
                }
                cancel {
                    PQgetCancel 1, PQfreeCancel 1, PQcancel 3, PQrequestCancel 1,
                    PQcancelCreate 1, PQcancelStart 1, PQcancelBlocking 1, PQcancelPoll 1,
                    PQcancelStatus 1, PQcancelSocket 1, PQcancelErrorMessage 1, PQcancelReset 1,
                    PQcancelFinish 1,
                }
            }
            called {
                PQparameterStatus 2, PQpipelineStatus 1, PQisBusy 1, PQsetnonblocking 2, PQisnonblocking 1,
                PQdb 1, PQuser 1, PQsslInUse 1, PQgssEncInUse 1, PQserverVersion 1,
                PQclientEncoding 1, PQresultStatus 1, PQresultErrorMessage 1, PQresultErrorField 2,
                PQcmdStatus 1, PQntuples 1, PQgetvalue 3, PQclear 1, PQmakeEmptyPGresult 2, PQfireResultCreateEvents 2,
                pg_encoding_to_char 1, PQconninfo 1, PQconninfoFree 1,
                PQgetgssctx 1,

            }
            local {
                PQsetSingleRowMode 1, PQsetChunkedRowsMode 2, PQping 1,
                PQpingParams 3,
                PQbinaryTuples 1, PQcmdTuples 1,
                PQconndefaults 0, PQconnectionNeedsPassword 1, PQconnectionUsedGSSAPI 1,
                PQconnectionUsedPassword 1, PQconninfoParse 2,
                PQcopyResult 2, PQdefaultAuthDataHook 3, PQdefaultSSLKeyPassHook_OpenSSL 3,
                PQdisplayTuples 6, PQdsplen 2, PQencryptPassword 2, PQenv2encoding 0,
                PQescapeBytea 3,
                PQescapeString 3, PQfformat 2,
                PQfmod 2, PQfname 2, PQfnumber 2, PQfreeNotify 1,
                PQfreemem 1, PQfsize 2, PQftable 2, PQftablecol 2, PQftype 2,
                PQfullProtocolVersion 1, PQgetAuthDataHook 0, PQgetCurrentTimeUSec 0,
                PQgetSSLKeyPassHook_OpenSSL 0, PQgetisnull 3, PQgetlength 3,
                PQgetssl 1, PQhost 1, PQhostaddr 1, PQinitOpenSSL 2,
                PQinitSSL 1, PQinstanceData 2, PQisthreadsafe 0, PQlibVersion 0,
                PQmblen 2, PQmblenBounded 2, PQnfields 1, PQnparams 1,
                PQoidStatus 1, PQoidValue 1, PQoptions 1, PQparamtype 2, PQpass 1,
                PQport 1, PQprint 3, PQprintTuples 5, PQprotocolVersion 1, PQregisterEventProc 4,
                PQregisterThreadLock 1, PQresStatus 1, PQresultAlloc 2,
                PQresultInstanceData 2, PQresultMemorySize 1,
                PQresultSetInstanceData 3, PQresultVerboseErrorMessage 3,
                PQsetAuthDataHook 1, PQsetErrorContextVisibility 2,
                PQsetErrorVerbosity 2, PQsetInstanceData 3, PQsetNoticeProcessor 3,
                PQsetResultAttrs 3, PQsetSSLKeyPassHook_OpenSSL 1,
                PQsetTraceFlags 2, PQsetvalue 5, PQsocketPoll 4, PQsslAttribute 2,
                PQsslAttributeNames 1, PQsslStruct 2, PQtrace 2, PQtty 1,
                PQunescapeBytea 2, PQuntrace 1,             }
            never {
                // the text buffer of psql and its like: no connection, and two of them are variadic
                appendBinaryPQExpBuffer, appendPQExpBuffer, appendPQExpBufferChar,
                appendPQExpBufferStr, appendPQExpBufferVA, createPQExpBuffer, destroyPQExpBuffer,
                enlargePQExpBuffer, initPQExpBuffer, printfPQExpBuffer, resetPQExpBuffer,
                termPQExpBuffer,
                // multibyte helpers: no connection
                pg_char_to_encoding, pg_utf_mblen, pg_valid_server_encoding,
                pg_valid_server_encoding_id,
                // a twin of signal(2), for the clients of the same source
                pqsignal,
                // data
                pgresStatus,
            }
        }
    };
}
pub(crate) use entry_points;

macro_rules! constants {
    (
        redirected { $($file:ident { $($name:ident $arity:literal,)* })* }
        called { $($called:ident $called_arity:literal,)* }
        local { $($local:ident $local_arity:literal,)* }
        never { $($never:ident,)* }
    ) => {
        /// A number for each function that is redirected or called: its place in
        /// every table here.
        #[allow(non_upper_case_globals, missing_docs)]
        pub(crate) mod entry {
            #[allow(non_camel_case_types)]
            enum Number { $($($name,)*)* $($called,)* }
            $($(pub(crate) const $name: usize = Number::$name as usize;)*)*
            $(pub(crate) const $called: usize = Number::$called as usize;)*
        }

        /// How many functions are redirected: those with the lowest numbers.
        pub(crate) const REDIRECTED: usize = [$($(stringify!($name),)*)*].len();

        /// How many functions have a number.
        pub(crate) const COUNT: usize = NAMES.len();

        /// Their names, by number.
        pub(crate) const NAMES: &[&str] = &[$($(stringify!($name),)*)* $(stringify!($called),)*];

        /// How many arguments they take, by number.
        #[cfg(test)]
        pub(crate) const ARITY: [u8; COUNT] = [$($($arity,)*)* $($called_arity,)*];

        static HASHES: [u32; COUNT] = [
            $($(hash(stringify!($name).as_bytes()),)*)*
            $(hash(stringify!($called).as_bytes()),)*
        ];

        static OTHERS: &[u32] = &[
            $(hash(stringify!($local).as_bytes()),)*
            $(hash(stringify!($never).as_bytes()),)*
        ];
    };
}
entry_points! { constants! {} }

/// What a name is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A redirected function, or one that the shims call, by its number.
    Numbered(usize),
    /// One that is left alone.
    LeftAlone,
    /// In no libpq that was known when this was written.
    Unknown,
}

/// What the name is. Those left alone are known by their hashes alone: another name
/// of the same hash is left alone as well.
pub(crate) fn kind(name: &[u8]) -> Kind {
    let hash = hash(name);
    let number = HASHES.iter().position(|known| *known == hash);
    if let Some(number) = number {
        if NAMES
            .get(number)
            .is_some_and(|known| known.as_bytes() == name)
        {
            return Kind::Numbered(number);
        }
    }
    if OTHERS.contains(&hash) {
        Kind::LeftAlone
    } else {
        Kind::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_number() {
        for (number, name) in NAMES.iter().enumerate() {
            assert_eq!(kind(name.as_bytes()), Kind::Numbered(number), "{name}");
        }
        assert_eq!(NAMES[entry::PQexec], "PQexec");
        assert_eq!(ARITY[entry::PQexecParams], 8);
        assert_eq!(kind(b"PQhost"), Kind::LeftAlone);
        assert_eq!(kind(b"PQexecute"), Kind::Unknown);
        assert_eq!(kind(b""), Kind::Unknown);
    }

    #[test]
    fn hashes_are_the_linkers_and_differ() {
        // "printf" is the example of the format's own description.
        assert_eq!(hash(b"printf"), 0x156b2bb8);
        let mut all: std::vec::Vec<u32> = HASHES.iter().chain(OTHERS).copied().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), HASHES.len() + OTHERS.len());
    }

    #[test]
    fn a_shim_can_take_every_arity() {
        assert!(ARITY.iter().all(|arity| (1..=8).contains(arity)));
    }
}
