//! Result codes of Nacos' gRPC protocol, in one table.

/// `resultCode` of every success.
pub(crate) const SUCCESS: i32 = 200;
/// `resultCode` of every failure, and the `errorCode` of one without a code of its own.
pub(crate) const SERVER_ERROR: i32 = 500;
/// A parameter or a combination of parameters that cannot be right.
pub(crate) const INVALID_PARAM: i32 = 400;
/// The caller may not do this; clients log in anew.
pub(crate) const NO_RIGHT: i32 = 403;
/// The server is not ready yet; the same request may succeed later.
pub(crate) const STARTING: i32 = 300;
/// More requests than the server allows; the same request may succeed later.
pub(crate) const OVER_LIMIT: i32 = 503;
/// The user, or nobody, has no right to this.
pub(crate) const FORBIDDEN: i32 = 403;
/// The connection has not been set up; clients answer it by connecting anew.
pub(crate) const UNREGISTERED: i32 = 301;
/// Nobody handles messages of this type.
pub(crate) const NO_HANDLER: i32 = 302;
/// The body does not read as a message of its type.
pub(crate) const UNREADABLE: i32 = 502;
