//! A registry as subcommands ask it: ours, or for what it can answer a Nacos.

mod act;
mod connected;
mod events;
mod instances;
mod target;

pub(crate) use act::{Acted, These, json, place};
pub(crate) use connected::Connected;
pub(crate) use events::{Recorded, events};
pub(crate) use instances::{Listed, Phase, Publisher, key, missing, named};
pub(crate) use target::{Of, Target, key_of};

use super::Failure;
use super::transfer::{Server, Trouble, Version};
use http::StatusCode;
use serde::Deserialize;
use std::error::Error;
use tower_graceful::model::Namespace;
use tower_graceful::naming::Causes;

/// A registry that can be asked, and what it is.
pub(crate) struct Api {
    pub(crate) server: Server,
    pub(crate) kind: Kind,
    pub(crate) namespace: Namespace,
    /// Who asks, with their password.
    pub(crate) user: Option<(String, String)>,
}

/// Whose program a registry is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// This crate's.
    Ours,
    /// A Nacos or an r-nacos, whose API has this version.
    Nacos(Version),
}

impl Api {
    /// Finds out who answers at `server`.
    async fn new(
        server: Server,
        namespace: Namespace,
        user: Option<(String, String)>,
    ) -> Result<Self, Trouble> {
        #[derive(Deserialize)]
        struct Named {
            name: String,
        }
        let kind = match server.read::<Named>("/version", &[]).await {
            Ok(Some(Named { name })) if name == env!("CARGO_PKG_NAME") => Kind::Ours,
            // Whatever else stands there, it is not ours.
            Ok(_) | Err(Trouble::Unreadable { .. }) => Kind::Nacos(Version::of(&server).await?),
            Err(trouble) => return Err(trouble),
        };
        Ok(Self { server, kind, namespace, user })
    }

    /// That it is a Nacos, which does not know `what`, and what to do about it.
    pub(crate) fn cannot_tell(&self, what: &str, instead: &str) -> Failure {
        Failure::could_not(format!(
            "{} is a Nacos, which does not tell {what}: {instead}",
            self.server.base()
        ))
    }
}

/// A failure that says what to do next.
pub(crate) fn failed(trouble: Trouble) -> Failure {
    let next = if let Trouble::Silent { .. } = &trouble {
        "is a registry there? `graceful registry` starts one; --registry or GRACEFUL_REGISTRY names another"
    } else if let Trouble::Refused { status, .. } = &trouble
        && is_for_others(*status)
    {
        "say who you are with --user NAME and --password-file FILE, as somebody who may do this"
    } else {
        return Failure::could_not(trouble); // The others say by themselves what is accepted.
    };
    let error: Box<dyn Error> = Box::new(trouble);
    Failure::could_not(format!("{}; {next}", Causes(&*error)))
}

fn is_for_others(status: StatusCode) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
}
