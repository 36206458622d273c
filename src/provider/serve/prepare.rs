//! What the application wants to have done before the registration.

use super::error::ServeError;
use super::oneself::Oneself;
use super::process::Process;
use crate::naming::{BoxError, BoxFuture};
use std::fmt;
use tokio::task::JoinSet;

/// What the application does before anybody else may call it.
pub(super) struct Preparation(Box<dyn FnOnce(Oneself) -> BoxFuture<'static, Result<(), BoxError>> + Send>);

impl Preparation {
    pub(super) fn new<F, T, E>(prepare: impl FnOnce(Oneself) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self(Box::new(move |oneself| {
            let prepared = prepare(oneself);
            Box::pin(async move { prepared.await.map(drop).map_err(Into::into) })
        }))
    }
}

impl fmt::Debug for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preparation(..)")
    }
}

/// Waits until `preparation` is done.
///
/// # Errors
/// When the preparation fails or panics.
///
/// # Cancel safety
/// Dropping the future drops the preparation.
pub(super) async fn prepare(
    process: &Process,
    preparation: Option<Preparation>,
    oneself: Oneself,
) -> Result<(), ServeError> {
    if let Some(Preparation(prepare)) = preparation {
        process.wait_for("the application to be prepared");
        // A task of its own: what blocks it blocks nobody else, and its panic is an error.
        let mut task = JoinSet::new();
        task.spawn(async move { prepare(oneself).await });
        match task.join_next().await {
            Some(Ok(prepared)) => prepared.map_err(ServeError::Preparation)?,
            Some(Err(error)) => return Err(ServeError::Preparation(error.into())),
            None => {}
        }
    }
    Ok(())
}
