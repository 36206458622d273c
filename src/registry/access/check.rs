//! What both wires ask: who is this, and may they?

use super::actor::actor;
use super::decide::{Action, Denied, Place, Principal};
#[cfg(feature = "console")]
use super::ended::Ended;
use super::known::Known;
use super::lockout::Lockout;
use super::password::{HashError, Hashing, Password, PasswordHash, random};
use super::token::Claims;
use super::user::{Edit, User, UserName};
use crate::model::Namespace;
use crate::registry::error::Refusal;
use crate::registry::hub::Hub;
use crate::registry::settings::Settings;
use crate::registry::write::Write;
#[cfg(feature = "console")]
use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Knows users by their tokens and passwords.
#[derive(Debug)]
pub(crate) struct Access {
    hub: Arc<Hub>,
    no_auth: bool,
    beyond_loopback: bool,
    token_ttl: Duration,
    hashing: Hashing,
    lockout: Mutex<Lockout>,
    known: Mutex<Known>,
    #[cfg(feature = "console")]
    ended: ArcSwap<Ended>,
    #[cfg(feature = "console")]
    tls: bool,
    console_hosts: Vec<String>,
}

/// What a login gives.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) token: String,
    /// How long the token counts.
    pub(crate) ttl: Duration,
    /// Whether its user may do everything.
    pub(crate) admin: bool,
}

impl Access {
    /// For the users of `hub`.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn new(hub: Arc<Hub>, settings: &Settings) -> Result<Self, HashError> {
        Ok(Self {
            hub,
            no_auth: settings.no_auth,
            beyond_loopback: settings.is_beyond_loopback(),
            token_ttl: settings.token_ttl,
            hashing: Hashing::default(),
            lockout: Mutex::default(),
            known: Mutex::new(Known::new()?),
            #[cfg(feature = "console")]
            ended: ArcSwap::default(),
            #[cfg(feature = "console")]
            tls: settings.tls.is_some(),
            console_hosts: settings.console_hosts.clone(),
        })
    }

    /// Whether nobody will ever be asked who they are.
    pub(crate) fn never_asks(&self) -> bool {
        self.no_auth
    }

    /// Whether whoever asks for something must be known.
    pub(crate) fn asks(&self) -> bool {
        !self.no_auth && (self.beyond_loopback || !self.hub.accounts().is_empty())
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Who shows this token.
    ///
    /// # Errors
    /// When there is none, or it does not count.
    pub(crate) fn by_token(&self, token: Option<&str>) -> Result<Principal, Denied> {
        if !self.asks() {
            return Ok(Principal::Anyone);
        }
        let accounts = self.hub.accounts();
        let key = accounts.key().ok_or(Denied::BadToken)?;
        let token = token.ok_or(Denied::NoToken)?;
        let claims = key.read(token, self.hub.now())?;
        #[cfg(feature = "console")]
        if self.ended.load().holds(token) {
            return Err(Denied::BadToken);
        }
        let user = UserName::new(&claims.sub).ok().and_then(|name| accounts.user(&name));
        let user = user.filter(|user| user.stamp == claims.stamp).ok_or(Denied::BadToken)?;
        Ok(Principal::User(user.clone()))
    }

    /// Whose name and password these are. That there is no such user takes as long to find out, and is the
    /// same answer, as that the password is another one.
    ///
    /// # Errors
    /// When they are nobody's, or too many attempts came before.
    pub(crate) async fn by_password(
        &self,
        name: &str,
        password: &str,
        source: IpAddr,
    ) -> Result<Arc<User>, Refusal> {
        let parsed = UserName::new(name).ok();
        let user = parsed.as_ref().and_then(|name| self.hub.accounts().user(name).cloned());
        let proof = parsed.as_ref().map(|name| self.known().proof(name, password));
        if let (Some(user), Some(proof)) = (&user, proof)
            && self.known().holds(proof, user.stamp, Instant::now())
        {
            return Ok(user.clone());
        }
        let begun = self.lockout().begin(parsed.as_ref(), source, Instant::now());
        begun.map_err(|wait| Refusal::TooManyLogins { wait })?;
        let hash = user.as_ref().map(|user| &user.password);
        let right = self.hashing.is_of(hash, password.to_owned()).await;
        let right = right.inspect_err(|_| self.lockout().came_to_nothing(parsed.as_ref(), source))?;
        let (Some(user), Some(proof), true) = (user, proof, right) else {
            let name: String = name.chars().take(64).collect();
            tracing::warn!(user.name = ?name, %source, "login failed");
            return Err(Refusal::UnknownUser);
        };
        self.lockout().succeeded(&user.name, source);
        self.known().prove(proof, user.stamp, Instant::now());
        // It may have changed while the password was looked at.
        let present = self.hub.accounts().user(&user.name).cloned();
        Ok(present.filter(|present| present.stamp == user.stamp).ok_or(Denied::BadToken)?)
    }

    /// Gives a token for a name and a password.
    ///
    /// # Errors
    /// Those of [`Access::by_password`].
    pub(crate) async fn log_in(
        &self,
        name: &str,
        password: &str,
        source: IpAddr,
    ) -> Result<Session, Refusal> {
        let user = self.by_password(name, password, source).await?;
        let accounts = self.hub.accounts();
        let key = accounts.key().ok_or(Refusal::UnknownUser)?;
        let claims = Claims::new(&user.name, user.stamp, self.hub.now(), self.token_ttl)?;
        tracing::debug!(user.name = %user.name, %source, "logged in");
        Ok(Session { token: key.sign(&claims), ttl: self.token_ttl, admin: user.is_admin() })
    }

    /// Has a token count no more; one that does not count is none to end.
    #[cfg(feature = "console")]
    pub(crate) fn log_out(&self, token: &str) {
        let (accounts, now) = (self.hub.accounts(), self.hub.now());
        let Some(claims) = accounts.key().and_then(|key| key.read(token, now).ok()) else { return };
        self.ended.rcu(|ended| ended.with(token, claims.exp, now.as_u64() / 1000));
        tracing::debug!(user.name = claims.sub, "logged out");
    }

    /// Whether the ports speak TLS, and nothing else.
    #[cfg(feature = "console")]
    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls
    }

    /// The names, besides those of this machine itself, under which browsers come to the registry.
    pub(crate) fn console_hosts(&self) -> &[String] {
        &self.console_hosts
    }

    /// Whether somebody who has subscribed may still be sent the lists of a namespace: a subscription outlives
    /// the token that it was made with, but not the right.
    pub(crate) fn may_still_read(&self, user: Option<&UserName>, namespace: &Namespace) -> bool {
        let has_right = |name: &UserName| {
            let accounts = self.hub.accounts();
            accounts.user(name).is_some_and(|user| user.may(Action::Read, Place::Namespace(namespace)))
        };
        !self.asks() || user.is_some_and(has_right)
    }

    /// What is to be kept of a new password.
    ///
    /// # Errors
    /// When it is too short or too long, or too many wait.
    pub(crate) async fn hash(&self, password: &str) -> Result<PasswordHash, Refusal> {
        Ok(self.hashing.hash(Password::new(password)?).await?)
    }

    /// Changes a user; it is stored by the time this returns, and every token of another password of the user is dead.
    ///
    /// # Errors
    /// When nobody is asked who they are, so that it may be anyone who wants this; when whoever wants it has
    /// changed since they were let in; when the change contradicts who is there, or cannot be stored.
    pub(crate) async fn edit(&self, name: UserName, edit: Edit) -> Result<(), Refusal> {
        if !self.asks() {
            return Err(Denied::NobodyAsks.into());
        }
        let (by, stamp) = (actor(), u64::from_le_bytes(random()?));
        self.hub.write(Write::User { name, edit, stamp, by }).await
    }

    fn lockout(&self) -> MutexGuard<'_, Lockout> {
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner) // Counts, whatever happened.
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::acting;
    use super::super::staged::tokens;
    use super::*;
    use crate::Clock;
    use crate::model::UnixMillis;
    use crate::registry::clerk;
    use crate::registry::command::Limits;
    use crate::registry::fact::Fact;
    use crate::registry::storage::Memory;
    use std::future::pending;
    use std::net::Ipv4Addr;

    /// A registry with the staged users and a clerk.
    fn asking() -> Access {
        let limits = Limits { metadata_chars_max: 100, instances_max: 100 };
        let hub = Arc::new(Hub::new(Clock::manual(UnixMillis::new(1_000_000)).0, limits));
        tokens(&hub);
        let kept = hub.clone();
        tokio::spawn(async move { clerk::keep(&kept, &Memory, pending()).await });
        Access::new(hub, &Settings::default()).unwrap()
    }

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn whoever_has_changed_since_they_were_let_in_changes_nobody() {
        let access = asking();
        let root = access.hub.accounts().user(&name("root")).cloned();
        let set = async |of: &str| {
            let edit = Edit::SetPassword(PasswordHash::nobodys());
            acting(root.clone(), access.edit(name(of), edit)).await
        };
        assert!(set("admin").await.is_ok());
        assert!(set("root").await.is_ok(), "a password of one's own ends what it was let in by");
        let late = set("admin").await;
        assert!(matches!(late, Err(Refusal::Denied(Denied::BadToken))), "{late:?}");
        let mut less = User::clone(root.as_deref().unwrap());
        less.grants.clear();
        access.hub.settle(vec![Fact::User { name: name("root"), user: Some(Arc::new(less)) }]);
        let late = set("admin").await;
        assert!(matches!(late, Err(Refusal::Denied(Denied::BadToken))), "{late:?}");
        access.hub.settle(vec![Fact::User { name: name("root"), user: None }]);
        assert!(matches!(set("admin").await, Err(Refusal::Denied(Denied::BadToken))));
    }

    #[tokio::test]
    async fn whoever_is_removed_while_their_password_is_looked_at_is_nobody() {
        let access = asking();
        let password = PasswordHash::of(&Password::new("correct horse").unwrap()).unwrap();
        let ann = Arc::new(User { password, ..User::with_grants("ann", &["admin"]) });
        let fact = |user| vec![Fact::User { name: name("ann"), user }];
        access.hub.settle(fact(Some(ann)));
        let source = Ipv4Addr::LOCALHOST.into();
        let log_in = access.by_password("ann", "correct horse", source);
        let removed = async { access.hub.settle(fact(None)) };
        let (known, ()) = tokio::join!(log_in, removed);
        assert!(matches!(known, Err(Refusal::Denied(Denied::BadToken))), "{known:?}");
    }
}
