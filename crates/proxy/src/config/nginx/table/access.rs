//! Rows of the table: added fields, access, identity.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{LIMIT_EXCEPT, LOCATION, SERVER};
use super::{ANY, Args, FLAG, HSL, HSLI, Known, MORE, ONE, ONE_OR_TWO, works};

pub(super) const ROWS: &[Known] = &[
    works("add_header", HSLI, Args::Words(2, 3)),
    works("expires", HSLI, ONE_OR_TWO),
    works("add_trailer", HSLI, Args::Words(2, 3)),
    works("add_header_inherit", HSLI, ONE),
    works("add_trailer_inherit", HSLI, ONE),
    works("allow", HSL | LIMIT_EXCEPT, ONE),
    works("deny", HSL | LIMIT_EXCEPT, ONE),
    works("auth_basic", HSL | LIMIT_EXCEPT, ONE),
    works("auth_basic_user_file", HSL | LIMIT_EXCEPT, ONE),
    works("auth_request", HSL, ONE),
    works("auth_request_set", HSL, Args::Words(2, 2)),
    works("set_real_ip_from", HSL, ONE),
    works("real_ip_header", HSL, ONE),
    works("real_ip_recursive", HSL, FLAG),
    works("valid_referers", SERVER | LOCATION, MORE),
    works("secure_link", HSL, ONE),
    works("secure_link_md5", HSL, ONE),
    works("secure_link_secret", LOCATION, ONE),
    works("satisfy", HSL, ONE),
    works("limit_except", LOCATION, Args::Block(1, ANY)),
    works("auth_delay", HSL, ONE),
];
