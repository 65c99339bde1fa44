//! Rows of the table: servers, locations and requests.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{HTTP, IF, LOCATION, SERVER, SERVER_IF, UPSTREAM};
use super::{
    ANY, Args, FLAG, HS, HSL, HSLI, Known, MEMORY, MORE, ONE, ONE_OR_TWO, TUNING, accepted, own,
    works,
};

pub(super) const ROWS: &[Known] = &[
    works("server", HTTP, Args::Block(0, 0)),
    works("listen", SERVER, MORE),
    works("server_name", SERVER, MORE),
    works("location", SERVER | LOCATION, Args::Block(1, 2)),
    works("internal", LOCATION, Args::Words(0, 0)),
    works("root", HSLI, ONE),
    works("alias", LOCATION, ONE),
    works("index", HSL, MORE),
    works("try_files", SERVER | LOCATION, Args::Words(2, ANY)),
    works("error_page", HSLI, Args::Words(2, ANY)),
    works("recursive_error_pages", HSL, FLAG),
    works("return", SERVER | LOCATION | IF | SERVER_IF, ONE_OR_TWO),
    works("server_tokens", HSL, ONE),
    own("via", HSL, ONE),
    works("default_type", HSL, ONE),
    works("types", HSL, Args::Block(0, 0)),
    accepted("types_hash_max_size", HSL, ONE, TUNING),
    accepted("types_hash_bucket_size", HSL, ONE, TUNING),
    accepted("server_names_hash_max_size", HTTP, ONE, TUNING),
    accepted("server_names_hash_bucket_size", HTTP, ONE, TUNING),
    accepted("variables_hash_max_size", HTTP, ONE, TUNING),
    accepted("variables_hash_bucket_size", HTTP, ONE, TUNING),
    accepted("map_hash_max_size", HTTP, ONE, TUNING),
    accepted("map_hash_bucket_size", HTTP, ONE, TUNING),
    accepted("proxy_headers_hash_max_size", HSL, ONE, TUNING),
    accepted("proxy_headers_hash_bucket_size", HSL, ONE, TUNING),
    works("merge_slashes", HS, FLAG),
    works("absolute_redirect", HSL, FLAG),
    works("port_in_redirect", HSL, FLAG),
    works("server_name_in_redirect", HSL, FLAG),
    works("log_not_found", HSL, FLAG),
    accepted("log_subrequest", HSL, FLAG, "they are not logged"),
    works("ignore_invalid_headers", HS, FLAG),
    works("underscores_in_headers", HS, FLAG),
    works("resolver", HSL | UPSTREAM, MORE),
    works("resolver_timeout", HSL | UPSTREAM, ONE),
    works("chunked_transfer_encoding", HSL, FLAG),
    accepted("msie_padding", HSL, FLAG, "the browsers it is for are gone"),
    accepted("msie_refresh", HSL, FLAG, "the browsers it is for are gone"),
    accepted("subrequest_output_buffer_size", HSL, ONE, MEMORY),
    works("stub_status", SERVER | LOCATION, Args::Words(0, 1)),
];
