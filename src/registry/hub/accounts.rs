//! Users, as the hub shows them to whoever checks a token.

use super::{Hub, State};
use crate::registry::access::Accounts;
use crate::registry::fact::Fact;
use arc_swap::Guard;
use std::sync::Arc;

impl Hub {
    /// The users that are stored, and the key of their tokens.
    pub(crate) fn accounts(&self) -> Guard<Arc<Accounts>> {
        self.accounts.load()
    }

    /// Shows readers the users that are stored. Called under the lock, so that no older ones come after them.
    pub(super) fn show_accounts(&self, _: &State, facts: &[Fact]) {
        let mut accounts = None;
        let mut shown = || Accounts::clone(&self.accounts.load());
        for fact in facts {
            match fact {
                Fact::User { name, user } => {
                    accounts.get_or_insert_with(&mut shown).enter(name, user.clone());
                }
                Fact::Key { key } => {
                    accounts.get_or_insert_with(&mut shown).enter_key(key.clone());
                }
                Fact::Instance { .. }
                | Fact::Service { .. }
                | Fact::Overrides { .. }
                | Fact::Namespace { .. } => {}
            }
        }
        if let Some(accounts) = accounts {
            self.accounts.store(Arc::new(accounts));
        }
    }
}
