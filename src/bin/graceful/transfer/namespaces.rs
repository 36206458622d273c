//! The names and descriptions that people have given to namespaces, as a server of any kind lists them.

use super::document::Named;
use super::foreign::Data;
use super::server::{Server, Trouble};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    namespace: String,
    namespace_show_name: Option<String>,
    namespace_desc: Option<String>,
}

/// All namespaces of a server but `public`, over the open routes of version 3, or of version 1 where that is not
/// there; one that nobody has named is called by its id.
///
/// # Errors
/// When the server does not answer, refuses, or answers what cannot be read.
pub(crate) async fn read(server: &Server) -> Result<Vec<Named>, Trouble> {
    let Data { data } = match server.read("/nacos/v3/admin/core/namespace/list", &[]).await? {
        Some(listed) => listed,
        None => server.get("/nacos/v1/console/namespaces", &[]).await?,
    };
    Ok(named(data))
}

fn named(lines: Vec<Line>) -> Vec<Named> {
    // Nobody can name the one that is always there; on most wires it has no id.
    let own = lines.into_iter().filter(|line| !["", "public"].contains(&line.namespace.as_str()));
    own.map(|Line { namespace, namespace_show_name, namespace_desc }| {
        let name = namespace_show_name.filter(|name| !name.is_empty()).unwrap_or_else(|| namespace.clone());
        Named { namespace, name, description: namespace_desc.unwrap_or_default() }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_says_something_when_somebody_has_named_or_described_it() {
        let text = r#"[{"namespace":"","namespaceShowName":"public"},{"namespace":"dev","namespaceShowName":"dev","namespaceDesc":""},
            {"namespace":"7f2c","namespaceShowName":"staging"},{"namespace":"qa","namespaceShowName":"qa","namespaceDesc":"of the testers"}]"#;
        let all = named(serde_json::from_str(text).unwrap());
        let says: Vec<_> = all.iter().map(|of| (of.namespace.as_str(), of.says_something())).collect();
        assert_eq!(says, [("dev", false), ("7f2c", true), ("qa", true)]);
    }
}
