//! The parameters that the server has reported to libpq for a session (ParameterStatus).

use std::vec::Vec;

use crate::libpq::types::{self, PGconn};
use crate::libpq::Library;
use crate::session::REPORTED;

/// How many of them name the server: nothing a client sets later.
const IDENTITY: usize = 4;

type Text = Option<Vec<u8>>;

/// Copies of all of them: a reconnect frees what libpq keeps.
pub(crate) struct ReportedParameters {
    database: Text,
    user: Text,
    tls: bool,
    gss: bool,
    reported: Vec<Text>,
}

impl ReportedParameters {
    /// As of now.
    pub(crate) fn of(library: &Library, pgconn: PGconn) -> ReportedParameters {
        let copy = |text: types::Text| text.bytes().map(<[u8]>::to_vec);
        ReportedParameters {
            database: copy(library.database(pgconn)),
            user: copy(library.user(pgconn)),
            tls: library.ssl_in_use(pgconn) != 0,
            gss: library.gss_encryption_in_use(pgconn) != 0,
            reported: REPORTED
                .iter()
                .map(|name| copy(library.parameter_status(pgconn, (*name).into())))
                .collect(),
        }
    }

    /// How `other`, read right after a reconnect, shows another server, user or setting than this.
    pub(crate) fn find_other_server(&self, other: &ReportedParameters) -> Option<&'static str> {
        if self.database != other.database || self.user != other.user {
            Some("another database or user")
        } else if self.tls && !other.tls || self.gss && !other.gss {
            Some("no encryption, where the parent's session had it")
        } else if !self.gss && other.gss {
            Some("a Kerberos ticket's encryption, where the parent's session had none")
        } else {
            self.differing(other, IDENTITY).next()
        }
    }

    /// What a replay has not made equal, but for what `excused` says.
    pub(crate) fn find_unequal(
        &self,
        other: &ReportedParameters,
        excused: impl Fn(&str) -> bool,
    ) -> Option<&'static str> {
        let mut names = self.differing(other, REPORTED.len());
        names.find(|name| !excused(name))
    }

    /// Which of the first parameters are not the same.
    fn differing<'a>(
        &'a self,
        other: &'a ReportedParameters,
        first: usize,
    ) -> impl Iterator<Item = &'static str> + 'a {
        let pairs = self.reported.iter().zip(&other.reported).zip(REPORTED);
        let unlike = pairs.take(first).filter(|((one, other), _)| one != other);
        unlike.filter_map(|(_, name)| name.to_str().ok())
    }
}
