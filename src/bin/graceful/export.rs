//! `graceful export`: what a registry keeps, as one file.

use super::transfer::{Document, read_foreign, read_namespaces, read_ours};
use super::{Failure, log, remote};
use clap::Args;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes what a registry keeps as one JSON file: names of namespaces, services, persistent instances,
/// and what operators have set.
///
/// `graceful import` brings it about in another registry. Ephemeral instances are not in it: their
/// applications register by themselves.
#[derive(Args)]
pub(super) struct Arguments {
    /// The registry to read.
    #[arg(long, value_name = "ADDRESS", default_value = remote::DEFAULT)]
    from: String,

    /// A running Nacos or r-nacos to read instead.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "from")]
    from_nacos: Option<String>,

    #[command(flatten)]
    tls: remote::Tls,

    #[command(flatten)]
    login: remote::Login,

    /// Only this namespace; may be given several times.
    #[arg(long, value_name = "ID")]
    namespace: Vec<String>,

    /// The file to write [default: stdout].
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    log::to_stderr(log::Format::Text, "warn");
    let document = remote::block_on(read(arguments))?.map_err(Failure::could_not)?;
    write(&document, arguments.to.as_deref()).map_err(Failure::could_not)?;
    let (services, instances) = (document.services.len(), document.instances_len());
    // Whoever does not listen misses nothing that is not in the file.
    let services = counted(services, "service");
    let _ = writeln!(io::stderr(), "{services} with {}", counted(instances, "persistent instance"));
    Ok(())
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

async fn read(arguments: &Arguments) -> Result<Document, Box<dyn Error>> {
    let Arguments { from, from_nacos, tls, login, namespace, .. } = arguments;
    let mut server = tls.server(from_nacos.as_ref().unwrap_or(from))?;
    login.enter(&mut server).await?;
    let services = if from_nacos.is_some() {
        read_foreign(&server, namespace).await?
    } else {
        let all = read_ours(&server).await?;
        let all =
            all.ok_or("it is no registry of this program: a Nacos or r-nacos is read with --from-nacos")?;
        all.into_iter().filter(|of| namespace.is_empty() || namespace.contains(&of.key.namespace)).collect()
    };
    let mut namespaces = read_namespaces(&server).await?;
    namespaces
        .retain(|of| of.says_something() && (namespace.is_empty() || namespace.contains(&of.namespace)));
    Ok(Document::new(server.base().to_owned(), namespaces, services))
}

fn write(document: &Document, to: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let mut text = serde_json::to_vec_pretty(document)?;
    text.push(b'\n');
    let Some(path) = to else { return Ok(io::stdout().write_all(&text)?) };
    // Whole or not at all: half an export would read as a loss.
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path)).map_err(|source| {
        let said = format!("cannot write {}: {source}", path.display());
        said.into()
    })
}
