//! What the reader says, in the words of the tree.

use crate::tree;
use forkguard_sql::{Argument, Call, Mode, Name, Statement, Temporaries, Trusted, Value, What};

/// What a fresh session reads by, and nothing trusted.
pub const MODE: Mode<'static> = Mode {
    standard_conforming_strings: true,
    ascii_safe: true,
    server: 18,
    trusted: &Trusted::nothing(),
};

/// What the reader says, in the words of [`tree::Does`]: a function that is not known may do anything.
pub fn said(statement: &Statement) -> tree::Does {
    if matches!(statement.temporary, Temporaries::Made { .. }) {
        return tree::Does::Changes("makes a temporary one".to_owned());
    }
    let mut unknown = statement.calls.names();
    match (&statement.what, unknown.next()) {
        (What::Opaque(_), _) | (_, None) => said_of(&statement.what),
        (_, Some(name)) => tree::Does::Changes(format!("does not know: {name:?}")),
    }
}

fn said_of(what: &What) -> tree::Does {
    use tree::Does::{Changes, Nothing, This};
    let name = |name: &Name| String::from_utf8_lossy(&name.to_vec()).into_owned();
    let is_local = |local: &bool| if *local { "local " } else { "" };
    match what {
        What::Harmless => Nothing,
        What::Opaque(reason) => Changes(reason.to_string()),
        What::Roles { .. } => Nothing,
        What::Defaults { .. } => Changes("defaults of new sessions".to_owned()),
        What::SetTransaction => Nothing,
        What::Savepoint(n) => This(format!("Savepoint {}", name(n))),
        What::Release(n) => This(format!("Release {}", name(n))),
        What::RollbackTo(n) => This(format!("RollbackTo {}", name(n))),
        What::Set {
            name: n,
            local,
            value,
        } => This(format!(
            "Set {}{} {}",
            is_local(local),
            name(n).to_ascii_lowercase(),
            match value {
                Value::Given => "Given",
                Value::Default => "Default",
            }
        )),
        What::SetConfig(calls) => match calls.calls().collect::<Vec<_>>()[..] {
            [Call {
                name: Argument::Constant(name),
                value,
                local: Argument::Boolean(local),
                ..
            }] => This(format!(
                "Set {}{} {}",
                is_local(&local),
                String::from_utf8_lossy(name).to_ascii_lowercase(),
                match value {
                    Argument::Null => "Default",
                    _ => "Given",
                }
            )),
            _ => This("SetConfig".to_owned()),
        },
        What::SetCharacteristics {
            isolation,
            read_only,
            deferrable,
            local,
        } => {
            let mut sets = Vec::new();
            sets.extend(deferrable.then_some("transaction_deferrable"));
            sets.extend(isolation.then_some("transaction_isolation"));
            sets.extend(read_only.then_some("transaction_read_only"));
            This(format!(
                "SetCharacteristics {}{}",
                is_local(local),
                sets.join(" ")
            ))
        }
        What::Prepare { name: n, .. } => This(format!("Prepare {}", name(n))),
        What::Execute { name: n } => This(format!("Execute {}", name(n))),
        What::Deallocate(n) => This(format!("Deallocate {}", name(n))),
        What::Listen(n) => This(format!("Listen {}", name(n))),
        What::Unlisten(n) => This(format!("Unlisten {}", name(n))),
        What::HoldCursor(_) | What::Lock(_) | What::Unlock(_) | What::UnlockAll => {
            Changes("what its end takes back".to_owned())
        }
        What::CloseCursor(_) => Nothing,
        other => This(format!("{other:?}")),
    }
}
