//! Looking at the console: every page, live and cut off, without scripts, and with nothing but a keyboard.

use super::super::registry::Running;
use super::stage::{HOSTILE_SERVICE, HOSTILE_VALUE, Stage, encoded};
use super::visitor::Visitor;
use serde_json::json;

/// The key of this name, as the driver is told it.
const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';
/// More controls than a page has.
const CONTROLS_MAX: usize = 300;

/// All pages, each with a name for its picture.
fn pages() -> Vec<(&'static str, String)> {
    let hostile = encoded(HOSTILE_SERVICE);
    let instance = |service: &str, at: &str| format!("/console/instance?serviceName={service}&ip={at}");
    vec![
        ("overview", "/console".to_owned()),
        ("nothing-found", "/console?search=nothing%3Cb%3E".to_owned()),
        ("service", "/console/service?serviceName=orders".to_owned()),
        ("service-hostile", format!("/console/service?serviceName={hostile}")),
        ("instance", instance("orders", "10.0.0.7&port=8080")),
        ("instance-connected", instance("orders", "10.0.0.9&port=8080")),
        ("instance-gone", instance("orders", "10.0.0.8&port=8080")),
        ("instance-hostile", instance(&hostile, "10.0.9.9&port=80&clusterName=EAST")),
        ("clients", "/console/clients".to_owned()),
        ("settings", "/console/settings".to_owned()),
        ("service-unknown", "/console/service?serviceName=unknown".to_owned()),
    ]
}

#[tokio::test]
async fn every_page_can_be_read_by_everyone_in_every_width_light_and_dark() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    visitor.finds_nothing_wrong("empty").await;
    let _nacos = stage.is_full().await;
    for (name, path) in pages() {
        visitor.go(&path).await;
        visitor.finds_nothing_wrong(name).await;
        if name != "service-unknown" {
            visitor.console_is_quiet().await; // A refusal is told there, and that is all right.
        }
    }
    visitor.driver.console().await;
    visitor.leave().await;
}

#[tokio::test]
async fn a_page_that_is_open_shows_what_happens_and_keeps_what_is_being_typed() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    visitor.run("window.loaded = 1", &[]).await;
    visitor.reads("No services yet").await;
    visitor.fill("Name contains", "half a wo").await;
    stage.beats("orders", "10.0.0.7:8080").await;
    visitor.reads("orders").await;
    assert_eq!(visitor.run("return document.querySelector('[type=search]').value", &[]).await, "half a wo");
    assert_eq!(visitor.run("return document.activeElement.type", &[]).await, "search", "the focus stays");

    // The first state that comes is what the page shows already: nothing is put in another's place.
    let source = "addEventListener('DOMContentLoaded', () => { document.querySelector('h1').first = true })";
    let source = json!({"source": source});
    visitor.driver.ask_browser("Page.addScriptToEvaluateOnNewDocument", &source).await;
    visitor.go("/console/service?serviceName=orders").await;
    visitor.run("window.loaded = 1", &[]).await;
    stage.beats("orders", "10.0.0.8:8080").await;
    visitor.reads("10.0.0.8:8080").await;
    assert_eq!(visitor.run("return document.querySelector('h1').first", &[]).await, true);
    stage.registry.send("DELETE", "/instance?serviceName=orders&ip=10.0.0.8&port=8080", "").await;
    visitor.reads("Gone lately").await;
    assert_eq!(visitor.run("return window.loaded", &[]).await, 1, "it was not loaded again");
    visitor.leave().await;
}

#[tokio::test]
async fn a_registry_that_restarts_is_missed_and_followed_again() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    stage.beats("orders", "10.0.0.7:8080").await;
    visitor.reads("orders").await;
    visitor.run("window.loaded = 1", &[]).await;
    let port = stage.registry.http.port();
    stage.registry.stop().await;
    visitor.reads("Disconnected, showing the state of").await;
    visitor.reads("orders").await;
    visitor.finds_nothing_wrong("disconnected").await;

    let stage = Stage { registry: Running::start_on(port).await };
    visitor.reads_no_more("Disconnected").await;
    visitor.reads("No services yet").await;
    stage.beats("billing", "10.0.0.7:8080").await;
    visitor.reads("billing").await;
    assert_eq!(visitor.run("return window.loaded", &[]).await, 1, "it was not loaded again");
    visitor.driver.console().await; // The browser tells there that nobody answered.
    visitor.leave().await;
}

#[tokio::test]
async fn without_scripts_all_is_there_and_is_loaded_again_now_and_then() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _nacos = stage.is_full().await;
    visitor.scripts(false).await;
    visitor.go("/console").await;
    visitor.fill("Name contains", "ord").await;
    visitor.click("Search").await;
    visitor.reads("1 service").await;
    visitor.click("orders").await;
    visitor.reads("10.0.0.7:8080").await;
    assert!(visitor.run("return location.pathname", &[]).await == "/console/service");
    stage.beats("orders", "10.0.0.10:8080").await;
    visitor.reads("10.0.0.10:8080").await; // The page is renewed by its `<noscript>`.
    visitor.leave().await;
}

#[tokio::test]
async fn a_keyboard_is_enough_and_one_sees_where_one_is() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    let _nacos = stage.is_full().await;
    visitor.go("/console").await;
    visitor.driver.press(TAB).await;
    let skip = "return [document.activeElement.textContent, seen(document.activeElement), \
                document.activeElement.getBoundingClientRect().x >= 0]";
    assert_eq!(visitor.run(skip, &[]).await, json!(["Skip to the content", true, true]));
    visitor.driver.press(ENTER).await;
    visitor.until("document.activeElement.id === 'main' || location.hash === '#main'").await;
    visitor.driver.press(TAB).await;
    let inside = "return document.getElementById('main').contains(document.activeElement)";
    assert_eq!(visitor.run(inside, &[]).await, json!(true), "the next stop is in the main part");

    for (name, path) in pages() {
        visitor.go(&path).await;
        walks_through(&visitor, name).await;
    }
    visitor.go("/console?search=orders").await;
    visitor.run("all('a').find((link) => link.textContent === 'orders').focus()", &[]).await;
    visitor.driver.press(ENTER).await;
    visitor.reads("10.0.0.7:8080").await;
    visitor.driver.console().await;
    visitor.leave().await;
}

/// From stop to stop: each can be seen, shows that it has the focus, and all come in the order of the page.
async fn walks_through(visitor: &Visitor, name: &str) {
    let stops = "const stops = all(USABLE).filter((e) => e.tabIndex >= 0 && !e.disabled && seen(e) || e.matches('.skip')); \
                 return stops.length";
    let stops = visitor.run(stops, &[]).await.as_u64().unwrap();
    let stop = "const at = document.activeElement; if (at === document.body) return null; \
                const style = getComputedStyle(at); \
                const ring = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 || style.boxShadow !== 'none'; \
                const {top, bottom} = at.getBoundingClientRect(); \
                const order = window.before && !(window.before.compareDocumentPosition(at) & 4); \
                window.before = at; \
                return {at: place(at), ring, seen: seen(at) && bottom > 0 && top < innerHeight, order: !order}";
    visitor.run("window.before = null", &[]).await;
    let mut walked = 0;
    for _ in 0..CONTROLS_MAX {
        visitor.driver.press(TAB).await;
        let at = visitor.run(stop, &[]).await;
        if at.is_null() {
            break;
        }
        assert_eq!(
            (&at["ring"], &at["seen"], &at["order"]),
            (&json!(true), &json!(true), &json!(true)),
            "{name}: {at}"
        );
        walked += 1;
    }
    assert!(walked >= stops, "{name}: {walked} of {stops} stops are reached");
}

#[tokio::test]
async fn hostile_words_are_words() {
    let Some((stage, visitor)) = Stage::set().await else { return };
    stage.is_hostile().await;
    visitor.reads(HOSTILE_SERVICE).await;
    visitor.click(HOSTILE_SERVICE).await;
    visitor.reads("10.0.9.9:80").await;
    let is_text = async || {
        let strangers = "return all('main img, main script, main b, main [onerror]').length";
        assert_eq!(visitor.run(strangers, &[]).await, 0);
        visitor.console_is_quiet().await;
    };
    is_text().await;
    assert_eq!(visitor.run("return document.querySelector('h1').innerText", &[]).await, HOSTILE_SERVICE);
    visitor.click("10.0.9.9:80").await;
    visitor.reads("alert(2)").await; // In the metadata, as it stands there.
    let value = "return all('bdi').some((one) => one.textContent === arguments[0])";
    assert_eq!(visitor.run(value, &[json!(HOSTILE_VALUE)]).await, json!(true));
    visitor.reads("<b>key</b>").await;
    let page = visitor.run("return document.documentElement.outerHTML.length", &[]).await;
    assert!(page.as_u64() < Some(50_000), "what is too long is cut: {page}");
    is_text().await;
    visitor.leave().await;
}
