//! The checks themselves: that they see what is wrong, and nothing in a page that is as it should be.

use super::stage::encoded;
use super::visitor::Visitor;

/// A page that is as it should be.
const SOUND: &str = "<!doctype html><html lang=en><head><title>Sound</title><meta name=viewport content='width=device-width'>\
    <link rel=icon href='data:,'><style>td, th { padding: 4px }</style></head><body><a href='#main'>Skip</a><main id=main><h1>Sound</h1>\
    <p>See <a href='/x'>another page</a> for more.</p><form><label for=name>Name</label> <input id=name></form>\
    <table><caption>Services</caption><tr><th scope=col>Name</th></tr><tr><td>orders</td></tr></table>\
    <svg role=img width=100 height=40 aria-label='Requests'><text x=4 y=20>10</text></svg></main></body></html>";

#[tokio::test]
async fn a_page_that_is_as_it_should_be_is_left_alone_and_each_fault_is_told() {
    let page = |html: &str| format!("text/html;charset=utf-8,{}", encoded(html));
    let Some(visitor) = Visitor::at("data:").await else { return };
    visitor.go(&page(SOUND)).await;
    assert_eq!((visitor.unsound().await, visitor.unfit().await), (vec![], vec![]));

    for (right, fault, told) in [
        ("<html lang=en>", "<html>", "says no language"),
        ("<title>Sound</title>", "", "has no title"),
        ("<h1>Sound</h1>", "<h2>Sound</h2>", "has 0 of what there is one of: the first heading"),
        ("<h1>Sound</h1>", "<h1>Sound</h1><h3>Deep</h3>", "follows a heading of level 1"),
        ("<main id=main>", "<p>Lost</p><main id=main>", "is in no landmark"),
        (
            "<p>See",
            "<section aria-label=a><p role=region aria-label=a tabindex=0>x</p></section><p>See",
            "name of its own",
        ),
        ("<form>", "<form id=main>", "#main is there more than once"),
        ("<p>See", "<p aria-describedby=gone>See", "names #gone, which is not there"),
        ("'#main'", "'#there'", "leads to #there, which is not there"),
        ("<p>See", "<p role=knob>See", "role \"knob\""),
        ("<p>See", "<p aria-live=loud>See", "aria-live=\"loud\""),
        ("another page", "<span aria-hidden=true>another page</span>", "is used and has no name"),
        ("<p>See", "<p aria-hidden=true>See", "is hidden from some and used by others"),
        ("<label for=name>Name</label>", "", "has no label"),
        ("<input id=name>", "<input id=name type=password>", "which password it wants"),
        ("<input id=name>", "<input id=name tabindex=3>", "jumps the order of the focus"),
        (" aria-label='Requests'", "", "is a picture without words"),
        ("<caption>Services</caption>", "", "has no caption"),
        ("scope=col", "", "has no scope"),
        ("<td>orders</td>", "<td>orders</td><td></td>", "has rows of 1 and 2 cells"),
        ("<p>See", "<ul><p>x</p></ul><p>See", "is in a list and no entry"),
        ("<p>See", "<p style='color:#777'>See", "contrast of 4.48, at least 4.5"),
        ("<p>See", "<p style='opacity:.5'>See", "contrast of"),
        ("<text x=4", "<text fill='#aaa' x=4", "contrast of"),
        ("<input id=name>", "<input id=name style='border:1px solid #ddd'>", "an edge of contrast"),
        ("<a href='/x'>", "<a href='/x' style='text-decoration:none'>", "by its colour only"),
        (
            "<p>See",
            "<p><button style='width:9px;height:9px;padding:0' aria-label=a></button><button>b</button></p><p>See",
            "too close to",
        ),
    ] {
        visitor.go(&page(&SOUND.replacen(right, fault, 1))).await;
        let unsound = visitor.unsound().await;
        assert!(unsound.iter().any(|what| what.contains(told)), "{fault}: {unsound:?}");
    }

    for (fault, told) in [
        ("<p style='width:2000px'>See", "wider than its window"),
        ("<p style='width:20px;overflow:hidden;white-space:nowrap'>See", "is cut off"),
        (
            "<p style='width:20px;overflow-wrap:anywhere'>10.0.0.7:8080</p><p>See",
            "\"10.0.0.7:8080\" is broken",
        ),
        ("<p>over</p><p style='margin-top:-30px'>See", "lies over"),
        (
            "<div style='width:20px;overflow:auto'>endlessendlessendless</div><p>See",
            "not for those with a keyboard",
        ),
    ] {
        visitor.go(&page(&SOUND.replacen("<p>See", fault, 1))).await;
        let unfit = visitor.unfit().await;
        assert!(unfit.iter().any(|what| what.contains(told)), "{fault}: {unfit:?}");
    }
    visitor.leave().await;
}
