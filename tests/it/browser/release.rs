//! A release of real processes as a person follows it: `shop release --keep`, and the console beside it.

use super::super::registry::SOON;
use super::super::shop::{ended, example, signal};
use super::visitor::{Scheme, Visitor, WIDTHS};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;

/// The page that the release is followed on.
const PAGE: &str = "/console/service?serviceName=orders";
/// Three steps of a release, each with a warm-up, on a machine that has other things to do.
const RELEASE_MAX: Duration = Duration::from_secs(180);
/// More than pictures in a repository may have.
const PICTURE_BYTES_MAX: usize = 200_000;

/// A shop that is being released.
struct Shop {
    child: Child,
    said: Lines<BufReader<ChildStderr>>,
    /// Where the console is.
    home: String,
}

impl Shop {
    /// Starts it with more `flags`, a warm-up among them.
    async fn open(flags: &str, name: &str) -> Self {
        let mut shop = example("shop");
        let svg = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).join("release.svg");
        shop.args(["release", "--keep"]).args(flags.split_whitespace()).arg("--svg").arg(svg);
        let mut child = shop.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = timeout(SOON, said.next_line()).await.unwrap().unwrap().unwrap();
        let home = first.strip_prefix("look at ").and_then(|url| url.strip_suffix("/console"));
        let home = home.unwrap_or_else(|| panic!("{first}")).to_owned();
        Self { child, said, home }
    }

    /// Waits until the release is over.
    async fn is_released(&mut self) {
        let over = async {
            while let Some(line) = self.said.next_line().await.unwrap() {
                if line.contains("until it is interrupted") {
                    return;
                }
            }
            panic!("it ended");
        };
        timeout(RELEASE_MAX, over).await.unwrap();
    }

    async fn close(self) {
        signal(&self.child, Signal::INT);
        assert_eq!(ended(self.child).await.status.code(), Some(0));
    }
}

#[tokio::test]
async fn a_release_is_followed_from_the_first_new_instance_to_the_verdict_on_the_last_old_one() {
    let Some(mut visitor) = Visitor::without_a_home().await else { return }; // A release waits for nobody.
    let mut shop = Shop::open("--rate 100 --warm-up 4", "followed").await;
    visitor.settle(&shop.home);
    visitor.go("/console").await;
    visitor.reads("orders").await;
    visitor.go(PAGE).await;
    visitor.run("window.loaded = 1", &[]).await;
    visitor.reads("3 of 3").await;
    visitor.reads("warming").await;
    visitor.finds_nothing_wrong("release-warming").await;
    visitor.reads("Gone lately").await;
    visitor.reads("QPS reached 0 at").await;
    shop.is_released().await;
    visitor.reads_no_more("warming").await;
    visitor.reads("3 of 3").await;
    assert_eq!(visitor.run("return window.loaded", &[]).await, 1, "it was never loaded again");
    visitor.finds_nothing_wrong("released").await;

    let gone = "return all('a', document.getElementById('gone').parentElement)[0].textContent";
    let gone = visitor.run(gone, &[]).await.as_str().unwrap().to_owned();
    visitor.click(&gone).await;
    visitor.reads("It is not listed any more").await;
    visitor.reads("QPS reached 0 at").await;
    visitor.finds_nothing_wrong("released-old").await;
    visitor.leave().await;
    shop.close().await;
}

/// Made anew by the command in `CONTRIBUTING.md`, and looked at before they are committed.
#[tokio::test]
#[ignore = "makes the pictures of the README, and takes two minutes"]
async fn pictures_of_a_release_are_taken() {
    let mut shop = Shop::open("--rate 300 --warm-up 20", "pictures").await;
    let visitor = Visitor::at(&shop.home).await.expect("a browser");
    visitor.go("/console").await;
    visitor.reads("orders").await;
    visitor.go(PAGE).await;
    visitor.reads("Gone lately").await; // The first step is over, and the second warms up.
    visitor.reads_no_more("warming").await;
    visitor.reads("warming 2").await;
    take(&visitor, "console-release", Scheme::Light, "section[aria-labelledby=requests]").await;
    shop.is_released().await;
    take(&visitor, "console-ramp", Scheme::Light, "figure.chart").await;
    visitor.leave().await;
    shop.close().await;
}

/// Takes a picture of a part of the page for the README.
async fn take(visitor: &Visitor, name: &str, scheme: Scheme, part: &str) {
    visitor.look(WIDTHS[0], scheme).await;
    let picture = visitor.picture_of(part).await;
    assert!(picture.len() < PICTURE_BYTES_MAX, "{name}: {} bytes", picture.len());
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    std::fs::write(pictures.join(format!("{name}.png")), picture).unwrap();
}
