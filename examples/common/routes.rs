//! What orders can be asked, and what they answer, as an axum router.

use super::goods::{ANSWERED_BY, CHUNKS_MAX, Order, Receipt, SLOW_MS_MAX, checksum, chunk};
use super::ledger::{self, Ledger};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use serde::Deserialize;
use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::sleep;

/// A new order is no longer than this.
const ORDER_BYTES_MAX: usize = 64 * 1024;
/// A streamed answer takes its time between two chunks.
const CHUNK_EVERY: Duration = Duration::from_millis(10);

/// What orders can be asked.
pub fn router(instance: SocketAddr, release: String, ledger: &Ledger) -> Router {
    let instance = instance.to_string();
    let name = HeaderValue::try_from(&instance).expect("an address is visible ASCII");
    let orders = Router::new()
        .route("/orders/{id}", get(order))
        .route("/orders", post(create))
        .route("/slow", get(slow))
        .with_state(Answerer { instance, release })
        .route("/stream", get(stream));
    ledger
        .noting(orders)
        .route("/executions", get(executions).with_state(ledger.clone()))
        .layer(DefaultBodyLimit::max(ORDER_BYTES_MAX))
        .layer(map_response(move |mut answer: Response| {
            answer.headers_mut().insert(ANSWERED_BY, name.clone());
            ready(answer)
        }))
}

/// Names this instance in its answers.
#[derive(Clone)]
struct Answerer {
    instance: String,
    release: String,
}

impl Answerer {
    fn order(self, id: impl Into<String>) -> Json<Order> {
        Json(Order { id: id.into(), instance: self.instance, release: self.release })
    }
}

async fn order(State(answerer): State<Answerer>, Path(id): Path<String>) -> Json<Order> {
    answerer.order(id)
}

async fn create(State(Answerer { instance, release }): State<Answerer>, body: Bytes) -> Json<Receipt> {
    Json(Receipt { bytes: body.len(), checksum: checksum(&body), instance, release })
}

#[derive(Deserialize)]
struct Slowness {
    ms: u64,
}

async fn slow(
    State(answerer): State<Answerer>,
    Query(Slowness { ms }): Query<Slowness>,
) -> Result<Json<Order>, (StatusCode, String)> {
    bounded("ms", ms, SLOW_MS_MAX)?;
    sleep(Duration::from_millis(ms)).await;
    Ok(answerer.order("slow"))
}

#[derive(Deserialize)]
struct Length {
    chunks: u64,
}

async fn stream(Query(Length { chunks }): Query<Length>) -> Result<Response, (StatusCode, String)> {
    bounded("chunks", chunks, CHUNKS_MAX)?;
    let chunks = futures_util::stream::iter(0..chunks).then(async |n| {
        sleep(CHUNK_EVERY).await;
        Ok::<_, Infallible>(chunk(n))
    });
    Ok(Response::new(Body::from_stream(chunks)))
}

async fn executions(State(ledger): State<Ledger>) -> Json<ledger::Summary> {
    Json(ledger.summary())
}

fn bounded(name: &str, value: u64, max: u64) -> Result<(), (StatusCode, String)> {
    let refusal = || (StatusCode::BAD_REQUEST, format!("{name}={value}: accepted is 0 to {max}"));
    if value <= max { Ok(()) } else { Err(refusal()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn ask(method: &str, uri: &str, body: &str) -> (StatusCode, Vec<u8>) {
        let request = Request::builder().method(method).uri(uri).body(Body::from(body.to_owned())).unwrap();
        let router = router(([127, 0, 0, 1], 1).into(), "v1".into(), &Ledger::default());
        let response = router.oneshot(request).await.unwrap();
        (response.status(), response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test(start_paused = true)]
    async fn every_answer_can_be_checked() {
        let (_, body) = ask("GET", "/orders/7", "").await;
        assert_eq!(body, br#"{"id":"7","instance":"127.0.0.1:1","release":"v1"}"#);
        let (_, body) = ask("POST", "/orders", "two shirts").await;
        let receipt: Receipt = serde_json::from_slice(&body).unwrap();
        assert_eq!((receipt.bytes, receipt.checksum), (10, checksum(b"two shirts")));
        let (_, body) = ask("GET", "/stream?chunks=3", "").await;
        assert_eq!(body, (0..3).flat_map(chunk).collect::<Vec<_>>());
        let (_, body) = ask("GET", "/slow?ms=500", "").await;
        assert_eq!(body, br#"{"id":"slow","instance":"127.0.0.1:1","release":"v1"}"#);
    }

    #[tokio::test]
    async fn what_is_too_long_is_refused_with_the_bound() {
        for (method, uri, bytes, words) in [
            ("GET", "/slow?ms=10001", 0, "accepted is 0 to 10000"),
            ("GET", "/stream?chunks=1001", 0, "accepted is 0 to 1000"),
            ("POST", "/orders", ORDER_BYTES_MAX + 1, "length limit exceeded"),
        ] {
            let (status, body) = ask(method, uri, &"x".repeat(bytes)).await;
            assert!(status.is_client_error(), "{uri}");
            assert!(String::from_utf8(body).unwrap().contains(words), "{uri}");
        }
    }
}
