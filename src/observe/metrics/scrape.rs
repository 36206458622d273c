//! The metrics as the answer to a request.

use super::Metrics;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};
use tower_service::Service;

const PROMETHEUS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

impl Metrics {
    /// The answer to a request by `method`: the [`text`](Self::text), or 501 when the application has a
    /// recorder of its own, whose exporter has the metrics then.
    pub fn answer(&self, method: &Method) -> Response<String> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut refusal = problem(StatusCode::METHOD_NOT_ALLOWED, "metrics are read with GET\n");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        let Some(text) = self.text() else {
            let elsewhere =
                "this application has a metrics recorder of its own: its exporter has these metrics\n";
            return problem(StatusCode::NOT_IMPLEMENTED, elsewhere);
        };
        let mut answer = Response::new(text);
        answer.headers_mut().insert(CONTENT_TYPE, PROMETHEUS_TEXT);
        answer
    }
}

fn problem(status: StatusCode, said: &str) -> Response<String> {
    let mut answer = Response::new(said.to_owned());
    *answer.status_mut() = status;
    answer
}

/// Whatever the path: it is the service of the route that it is mounted at.
impl<B> Service<Request<B>> for Metrics {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.answer(request.method())))
    }
}
