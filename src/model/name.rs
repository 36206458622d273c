//! Names of services and of what they live in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A name that breaks the rule of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidName {
    /// What was to be named: `namespace`, `group`, `service` or `cluster`.
    pub kind: &'static str,
    /// The name that was given, cut after 64 characters.
    pub given: String,
    /// What is accepted.
    pub accepted: &'static str,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} name {:?} is not valid: accepted is {}", self.kind, self.given, self.accepted)
    }
}

impl std::error::Error for InvalidName {}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $accepted:literal, default = $default:expr, $valid:expr) => {
        $(#[$doc])*
        ///
        /// Ordered by name, the default before all others.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Option<Arc<str>>); // `None` is the default, and nothing else is: most names are it.

        impl $name {
            const DEFAULT: Option<&str> = $default;

            /// Checks the name; surrounding white space is dropped, and a blank one means the default where
            /// there is one.
            ///
            /// # Errors
            /// When the name breaks the rule above.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                let trimmed = name.trim();
                let name = if trimmed.is_empty() { Self::DEFAULT.unwrap_or_default() } else { trimmed };
                let valid: fn(&str) -> bool = $valid;
                if name.is_empty() || !valid(name) {
                    let given = name.chars().take(64).collect();
                    return Err(InvalidName { kind: $kind, given, accepted: $accepted });
                }
                Ok(Self((Self::DEFAULT != Some(name)).then(|| name.into())))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_deref().or(Self::DEFAULT).unwrap_or_default()
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

name! {
    /// Namespace of a service: 1 to 64 of `A-Z a-z 0-9 _ -`. Blank means `public`.
    Namespace, "namespace", "1 to 64 of A-Z a-z 0-9 _ -", default = Some("public"),
    |name| name.len() <= 64 && only(name, b"_-")
}

name! {
    /// Group of a service: 1 to 128 of `A-Z a-z 0-9 _ : . -`. Blank means `DEFAULT_GROUP`.
    Group, "group", "1 to 128 of A-Z a-z 0-9 _ : . -", default = Some("DEFAULT_GROUP"),
    |name| name.len() <= 128 && only(name, b"_:.-")
}

name! {
    /// Name of a service inside its group: 1 to 512 visible ASCII characters without `@@`, not beginning
    /// with `@`. There is no default.
    ServiceName, "service", "1 to 512 visible ASCII characters without @@, not beginning with @", default = None,
    |name| name.len() <= 512
        && name.bytes().all(|byte| byte.is_ascii_graphic())
        && !name.starts_with('@')
        && !name.contains("@@")
}

name! {
    /// Cluster of an instance: 1 to 64 of `A-Z a-z 0-9 _ -`. Blank means `DEFAULT`.
    Cluster, "cluster", "1 to 64 of A-Z a-z 0-9 _ -", default = Some("DEFAULT"),
    |name| name.len() <= 64 && only(name, b"_-")
}

fn only(name: &str, besides: &[u8]) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || besides.contains(&byte))
}

impl Default for Namespace {
    /// `public`.
    fn default() -> Self {
        Self(None)
    }
}

impl Default for Group {
    /// `DEFAULT_GROUP`.
    fn default() -> Self {
        Self(None)
    }
}

impl Default for Cluster {
    /// `DEFAULT`.
    fn default() -> Self {
        Self(None)
    }
}

/// Identity of a service: namespace, group and name.
///
/// Written and read as `name`, `group@@name` or `namespace##group@@name`.
///
/// ```
/// use tower_graceful::model::ServiceKey;
/// let orders: ServiceKey = "orders".parse()?;
/// assert_eq!(orders.grouped(), "DEFAULT_GROUP@@orders");
/// assert_eq!(orders.to_string(), "public##DEFAULT_GROUP@@orders");
/// assert_eq!("shop@@orders".parse::<ServiceKey>()?.group.as_str(), "shop");
/// assert!("".parse::<ServiceKey>().is_err());
/// # Ok::<(), tower_graceful::model::InvalidName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The namespace that separates tenants or environments.
    pub namespace: Namespace,
    /// The group inside the namespace.
    pub group: Group,
    /// The name inside the group.
    pub name: ServiceName,
}

impl ServiceKey {
    /// The service `name` of the default group in the default namespace.
    ///
    /// # Errors
    /// When the name is not valid.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        Ok(Self { namespace: Namespace::default(), group: Group::default(), name: name.parse()? })
    }

    /// The form that Nacos puts on the wire: `group@@name`.
    pub fn grouped(&self) -> String {
        format!("{}@@{}", self.group, self.name)
    }
}

impl FromStr for ServiceKey {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (namespace, grouped) = text.split_once("##").unwrap_or(("", text));
        let (group, name) = grouped.split_once("@@").unwrap_or(("", grouped));
        Ok(Self { namespace: namespace.parse()?, group: group.parse()?, name: name.parse()? })
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}##{}@@{}", self.namespace, self.group, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_names_mean_the_default_where_there_is_one() {
        assert_eq!(Namespace::new(" ").unwrap(), Namespace::default());
        assert_eq!(Group::new("").unwrap(), Group::default());
        assert_eq!(Cluster::new("").unwrap(), Cluster::default());
        assert_eq!(ServiceName::new(" ").unwrap_err().kind, "service");
    }

    #[test]
    fn a_default_that_is_written_out_is_the_default_and_comes_first() {
        let names = ["DEFAULT", "zone-a", "A"].map(|name| Cluster::new(name).unwrap());
        assert_eq!(names[0], Cluster::default());
        let mut sorted = names.to_vec();
        sorted.sort();
        assert_eq!(sorted.iter().map(Cluster::as_str).collect::<Vec<_>>(), ["DEFAULT", "A", "zone-a"]);
    }

    #[test]
    fn a_name_that_breaks_its_rule_is_refused_with_the_rule() {
        for bad in ["@orders", "a@@b", "or ders", "bestellungen\u{fc}", &"x".repeat(513)] {
            let error = ServiceName::new(bad).unwrap_err().to_string();
            assert!(error.contains("1 to 512"), "{error}");
        }
        assert!(Group::new("a/b").is_err());
        assert!(Cluster::new("a.b").is_err());
        assert!(Namespace::new(&"n".repeat(65)).is_err());
    }

    #[test]
    fn a_service_key_survives_its_own_text() {
        let key: ServiceKey = "test##shop:eu@@com.example.Orders:1.0".parse().unwrap();
        assert_eq!(key.to_string().parse::<ServiceKey>().unwrap(), key);
    }
}
