//! Logging in: a name and a password for a token, which then goes with every request.
//!
//! The token is the client's, not the connection's: servers that know each other's tokens are not asked again
//! when the connection moves, and one that does not says so, once. It is replaced while it lives, and when a
//! server refuses it; whoever needs a new one in that moment waits for the one login that is under way.

mod credentials;
mod exchange;
mod token;

pub(super) use credentials::Credentials;

use super::dial::Dial;
use super::failure::Failure;
use super::servers::Server;
use crate::naming::{BoxError, backoff};
use exchange::Answer;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use token::Token;
use tokio::time::{Instant, timeout};

/// Longest wait after a first login that was refused: a registry that is given the user a moment later is not
/// missed for long.
const REFUSED_FIRST: Duration = Duration::from_secs(1);
/// No wait after a login that was refused is longer. Each costs the registry some work, and those that fail
/// may lock the user out.
const REFUSED_LONGEST: Duration = Duration::from_secs(60);

/// The wait before the next try after `failures` in a row (from 0 on), with `chance` in `0.0..=1.0`; a longer
/// one where the last was a login that the registry has `refused`.
pub(super) fn wait(refused: bool, failures: u32, chance: f64) -> Duration {
    if refused {
        backoff::growing(REFUSED_FIRST, REFUSED_LONGEST, failures, chance)
    } else {
        backoff::delay(failures, chance)
    }
}

/// The one who logs in for a client, if it is to.
pub(super) struct Login {
    credentials: Option<Credentials>,
    dial: Arc<dyn Dial>,
    /// How long one login may take.
    within: Duration,
    held: Mutex<Held>,
    /// Whoever has it logs in.
    turn: tokio::sync::Mutex<()>,
}

/// What has come of the logins so far.
#[derive(Debug, Default)]
struct Held {
    token: Option<Token>,
    /// Failures in a row, and until when nobody tries again while connected.
    failures: u32,
    until: Option<Instant>,
}

/// What goes with a request: a token, or nothing.
#[derive(Clone, Debug)]
pub(super) struct Pass(Option<Token>);

/// Why there is no token.
#[derive(Debug)]
pub(super) struct NotLoggedIn {
    user: String,
    server: String,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// In the registry's words.
    Refused(String),
    Failed(BoxError),
}

impl Login {
    /// Logs in as nobody where there are no credentials.
    pub(super) fn new(credentials: Option<Credentials>, dial: Arc<dyn Dial>, within: Duration) -> Self {
        Self { credentials, dial, within, held: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// What goes with a request now.
    pub(super) fn pass(&self) -> Pass {
        Pass(self.held().token.clone())
    }

    /// When a new token is to be asked for.
    pub(super) fn due(&self) -> Option<Instant> {
        let held = self.held();
        let due = held.token.as_ref()?.replace_at();
        Some(held.until.map_or(due, |until| until.max(due)))
    }

    /// Logs in where a new connection begins. While the token lives that it has, a client does without a
    /// login that is not to be had now.
    pub(super) async fn enter(&self, server: &Server) -> Result<(), Failure> {
        match self.refresh(server).await {
            Err(Failure::NotLoggedIn(why)) if !why.is_refused() && self.has_live_token() => Ok(()),
            entered => entered,
        }
    }

    /// Logs in unless there is a token that is good for a while.
    pub(super) async fn refresh(&self, server: &Server) -> Result<(), Failure> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        let _turn = self.turn.lock().await;
        if self.held().token.as_ref().is_some_and(|token| Instant::now() < token.replace_at()) {
            return Ok(());
        }
        self.ask(credentials, server).await
    }

    /// A pass in place of one that a server has refused on a connection that began at `connected`; nothing
    /// when the refusal is meant, or it is too soon to try again.
    pub(super) async fn renewed(
        &self,
        server: &Server,
        Pass(refused): &Pass,
        connected: Instant,
    ) -> Result<Option<Pass>, Failure> {
        let (Some(credentials), Some(refused)) = (&self.credentials, refused) else { return Ok(None) };
        let _turn = self.turn.lock().await;
        let (pass, now) = (self.pass(), Instant::now());
        if pass.0.as_ref().is_some_and(|token| !token.is(refused)) {
            return Ok(Some(pass));
        }
        if !refused.may_be_dead(connected, now) || self.held().until.is_some_and(|until| now < until) {
            return Ok(None);
        }
        self.ask(credentials, server).await?;
        Ok(Some(self.pass()))
    }

    /// Logs in, and notes what came of it.
    async fn ask(&self, credentials: &Credentials, server: &Server) -> Result<(), Failure> {
        let (asked, user) = (Instant::now(), credentials.user());
        let asking = async {
            let password = credentials.password().await?;
            exchange::log_in(&*self.dial, server, user, &password).await
        };
        let why = match timeout(self.within, asking).await {
            Ok(Ok(Answer::Token(text, life))) => {
                let token = Some(Token::new(text, asked, life, fastrand::f64()));
                *self.held() = Held { token, ..Held::default() };
                tracing::debug!(server.address = %server.http, user, "logged in");
                return Ok(());
            }
            Ok(Ok(Answer::Refused(words))) => Why::Refused(words),
            Ok(Ok(Answer::Strange(words))) => Why::Failed(words.into()),
            Ok(Err(error)) => Why::Failed(error),
            Err(elapsed) => Why::Failed(elapsed.into()),
        };
        self.held().postpone(matches!(why, Why::Refused(_)), fastrand::f64());
        Err(NotLoggedIn { user: user.to_owned(), server: server.http.to_string(), why }.into())
    }

    fn has_live_token(&self) -> bool {
        self.held().token.as_ref().is_some_and(|token| token.lives(Instant::now()))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// The token, if there is one.
    pub(super) fn token(&self) -> Option<&str> {
        self.0.as_ref().map(Token::text)
    }
}

impl NotLoggedIn {
    /// Whether the registry said no, and will again.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.why, Why::Refused(_))
    }
}

impl fmt::Display for NotLoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, server, why } = self;
        match why {
            Why::Refused(words) => {
                write!(f, "the registry at {server} does not let user {user:?} in ({words})")
            }
            Why::Failed(_) => write!(f, "logging in as {user:?} at {server} failed"),
        }
    }
}

impl std::error::Error for NotLoggedIn {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Refused(_) => None,
            Why::Failed(source) => Some(&**source),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

impl Held {
    fn postpone(&mut self, refused: bool, chance: f64) {
        self.until = Some(Instant::now() + wait(refused, self.failures, chance));
        self.failures = self.failures.saturating_add(1);
    }
}
