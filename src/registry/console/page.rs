//! A page in its three forms: HTML in a frame, JSON, and a stream.

use super::frame::{Frame, Tab};
use super::links;
use super::live::{self, STREAMS_MAX, Shown};
use super::moment::Clock;
use super::viewer::Viewer;
use crate::protocol::form::Form;
use crate::registry::access::Access;
use crate::registry::error::Refusal;
use crate::registry::http::{Json, Parameters, need};
use crate::registry::hub::Hub;
use askama::Template;
use axum::extract::{FromRequest, OriginalUri, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, VARY};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What all pages are made from.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) hub: Arc<Hub>,
    pub(super) access: Arc<Access>,
    /// Places for streams.
    places: Arc<Semaphore>,
}

impl Console {
    pub(super) fn new(hub: Arc<Hub>, access: Arc<Access>) -> Self {
        Self { hub, access, places: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }

    /// How many pages are followed.
    pub(super) fn followed(&self) -> usize {
        STREAMS_MAX - self.places.available_permits()
    }
}

/// What is asked of a page, and by whom.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) form: Form,
    pub(super) viewer: Viewer,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let uri = request
            .extensions()
            .get::<OriginalUri>()
            .map_or_else(|| request.uri(), |OriginalUri(uri)| uri)
            .clone();
        let headers = request.headers().clone();
        let Parameters(form) = Parameters::from_request(request, state).await?;
        Ok(Self { form, viewer: Viewer::present(), uri, headers })
    }
}

/// What a page shows: serialised for programs, and rendered by its template it is what stands in `<main>`.
pub(super) trait View: Template + Serialize + Sized + 'static {
    /// Where it is served.
    const PATH: &'static str;
    /// Where it is found.
    const TAB: Tab;
    /// How often it is looked at while somebody follows it: what most pages show is counted by the second.
    const EVERY: Duration = Duration::from_secs(1);

    /// What is asked for, as it is now.
    ///
    /// # Errors
    /// When the question is wrong, or there is no such thing.
    fn of(console: &Console, asked: &Asked) -> Result<Self, Refusal>;

    /// Its heading.
    fn title(&self) -> String;
}

/// In which form a page is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Html,
    Json,
    Stream,
}

impl Wanted {
    /// By the first media type of ours that the header `Accept` names.
    fn by(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
        let ours = [
            ("text/html", Self::Html),
            ("application/json", Self::Json),
            ("text/event-stream", Self::Stream),
        ];
        let known = |media: &str| ours.iter().find(|(name, _)| media.eq_ignore_ascii_case(name));
        media.filter_map(known).map(|(_, wanted)| *wanted).next().unwrap_or(Self::Html)
    }
}

/// Answers with a page, in the form that is asked for.
pub(super) async fn show<V: View>(State(console): State<Arc<Console>>, asked: Asked) -> Response {
    let wanted = Wanted::by(&asked.headers);
    let mut answer = match wanted {
        Wanted::Json => V::of(&console, &asked).map(Json).into_response(),
        Wanted::Html => match V::of(&console, &asked) {
            Ok(view) => framed(&console, &asked, &view),
            Err(refusal) => refused(&console, &asked, &refusal),
        },
        Wanted::Stream => follow::<V>(console, asked),
    };
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_name(ACCEPT));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A page in its frame.
fn framed<V: View>(console: &Console, asked: &Asked, view: &V) -> Response {
    match view.render() {
        Ok(main) => Frame::around(&main, view.title(), V::TAB, console, asked),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The reason why there is no such page, as a page.
pub(super) fn refused(console: &Console, asked: &Asked, refusal: &Refusal) -> Response {
    let (title, main) = reason(console, asked, refusal);
    let mut answer = Frame::around(&main, title.to_owned(), Tab::None, console, asked);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *answer.status_mut() = Refusal::status(refusal);
    answer
}

/// The heading and the whole of what stands in `<main>` where there is no such page.
fn reason(console: &Console, asked: &Asked, refusal: &Refusal) -> (&'static str, String) {
    /// What stands in `<main>` then.
    #[derive(Template)]
    #[template(path = "refused.html")]
    struct Refused {
        title: &'static str,
        why: String,
        /// Where one may look, with links.
        open: Vec<(String, String)>,
    }
    let (why, denied) = (crate::naming::Causes(refusal).to_string(), matches!(refusal, Refusal::Denied(_)));
    let title = if denied { "You may not do this" } else { "There is nothing to show" };
    let open = console.hub.namespaces().into_iter().filter(|namespace| asked.viewer.may_read(namespace));
    let open = open.map(|namespace| (links::overview(&namespace), namespace.to_string())).collect();
    let main = Refused { title, why, open }.render();
    (title, main.unwrap_or_else(|_| format!("<h1>{title}</h1>")))
}

/// A page as a stream.
fn follow<V: View>(console: Arc<Console>, mut asked: Asked) -> Response {
    // Found out before the stream begins: a browser gives a stream up that begins with a refusal.
    if let Err(refusal) = V::of(&console, &asked) {
        return refusal.into_response();
    }
    let (places, hub, headers) = (console.places.clone(), console.hub.clone(), asked.headers.clone());
    let need = need(&Method::GET, V::PATH);
    let look = move || {
        asked.viewer = asked.viewer.renewed(&console.access, need, &asked.form).ok()?;
        let at = Clock(console.hub.now().as_u64()).to_string();
        let main = match V::of(&console, &asked) {
            Ok(view) => view.render().ok()?,
            Err(refusal) => reason(&console, &asked, &refusal).1,
        };
        Some(Shown { main, at })
    };
    live::stream(&places, async move { hub.frozen().await }, &headers, (V::EVERY, Box::new(look)))
}
