//! Rows of the table: FastCGI, uwsgi and SCGI.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{IF, LOCATION};
use super::{Args, GATEWAY, HSL, HSLI, Known, ONE, refused};

pub(super) const ROWS: &[Known] = &[
    refused("fastcgi_pass", LOCATION | IF, ONE, GATEWAY),
    refused("fastcgi_param", HSLI, Args::Words(2, 3), GATEWAY),
    refused("fastcgi_index", HSL, ONE, GATEWAY),
    refused("fastcgi_split_path_info", LOCATION, ONE, GATEWAY),
    refused("fastcgi_read_timeout", HSL, ONE, GATEWAY),
    refused("fastcgi_buffers", HSL, Args::Words(2, 2), GATEWAY),
    refused("fastcgi_buffer_size", HSL, ONE, GATEWAY),
    refused("uwsgi_pass", LOCATION | IF, ONE, GATEWAY),
    refused("uwsgi_param", HSLI, Args::Words(2, 3), GATEWAY),
    refused("uwsgi_read_timeout", HSL, ONE, GATEWAY),
    refused("uwsgi_send_timeout", HSL, ONE, GATEWAY),
    refused("uwsgi_buffers", HSL, Args::Words(2, 2), GATEWAY),
    refused("uwsgi_buffer_size", HSL, ONE, GATEWAY),
    refused("scgi_pass", LOCATION | IF, ONE, GATEWAY),
    refused("scgi_param", HSLI, Args::Words(2, 3), GATEWAY),
];
