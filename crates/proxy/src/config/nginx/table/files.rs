//! Rows of the table: files.
//!
//! Not here: what they do (see `config::nginx::build`).

use super::context::{HTTP, IF, LIMIT_EXCEPT, LOCATION};
use super::{
    Args, FLAG, HSL, HSLI, Known, MEMORY, MORE, NOT_HERE, ONE, ONE_OR_TWO, TUNING, accepted,
    refused, works,
};

const ADDITION: &str =
    "add a fixed text with `sub_filter`, what is made anew in the application's templates";

pub(super) const ROWS: &[Known] = &[
    accepted("output_buffers", HSL, Args::Words(2, 2), MEMORY),
    accepted("postpone_output", HSL, ONE, MEMORY),
    accepted("sendfile", HSLI, FLAG, "used where it pays"),
    accepted("sendfile_max_chunk", HSL, ONE, TUNING),
    accepted("tcp_nopush", HSL, FLAG, "head and file leave together"),
    accepted("tcp_nodelay", HSL, FLAG, "always on"),
    accepted("send_lowat", HSL, ONE, TUNING),
    accepted("aio", HSL, ONE, "files are sent by the kernel"),
    accepted("aio_write", HSL, FLAG, "files are sent by the kernel"),
    accepted("directio", HSL, ONE, "files are sent by the kernel"),
    accepted("directio_alignment", HSL, ONE, TUNING),
    accepted("read_ahead", HSL, ONE, TUNING),
    accepted(
        "open_file_cache",
        HSL,
        ONE_OR_TWO,
        "always on, at most one second old",
    ),
    accepted("open_file_cache_valid", HSL, ONE, "one second"),
    accepted("open_file_cache_min_uses", HSL, ONE, TUNING),
    accepted("open_file_cache_errors", HSL, FLAG, "errors are not kept"),
    accepted("open_file_cache_events", HSL, FLAG, "always on"),
    works("disable_symlinks", HSL, ONE_OR_TWO),
    works("etag", HSL, FLAG),
    works("if_modified_since", HSL, ONE),
    works("max_ranges", HSL, ONE),
    works("autoindex", HSL, FLAG),
    works("autoindex_exact_size", HSL, FLAG),
    works("autoindex_format", HSL, ONE),
    works("autoindex_localtime", HSL, FLAG),
    works("charset", HSLI, ONE),
    works("charset_types", HSL, MORE),
    refused(
        "override_charset",
        HSLI,
        FLAG,
        "texts are not converted; let the application say what it sends",
    ),
    refused(
        "source_charset",
        HSLI,
        ONE,
        "files are sent as they are; convert them",
    ),
    refused(
        "charset_map",
        HTTP,
        Args::Block(2, 2),
        "texts are not converted; serve them as UTF-8",
    ),
    works("random_index", LOCATION, FLAG),
    refused("dav_methods", HSL, MORE, NOT_HERE),
    refused("mp4", LOCATION, Args::Words(0, 0), NOT_HERE),
    refused("flv", LOCATION, Args::Words(0, 0), NOT_HERE),
    refused(
        "empty_gif",
        LOCATION,
        Args::Words(0, 0),
        "write `return 204;`, or serve a file of one pixel",
    ),
    refused(
        "ssi",
        HSLI,
        FLAG,
        "put the parts together in the application, or serve this location with nginx behind this proxy",
    ),
    refused(
        "image_filter",
        LOCATION,
        MORE,
        "scale images when they are uploaded, or serve this location with nginx behind this proxy",
    ),
    refused("memcached_pass", LOCATION | IF, ONE, NOT_HERE),
    refused("grpc_pass", LOCATION | IF, ONE, NOT_HERE),
    refused("perl", LOCATION | LIMIT_EXCEPT, ONE, NOT_HERE),
    refused("userid", HSL, ONE, NOT_HERE),
    works("mirror", HSL, ONE),
    works("mirror_request_body", HSL, FLAG),
    works("slice", HSL, ONE),
    works("sub_filter", HSL, Args::Words(2, 2)),
    works("sub_filter_once", HSL, FLAG),
    works("sub_filter_types", HSL, MORE),
    works("sub_filter_last_modified", HSL, FLAG),
    refused("addition_types", HSL, MORE, ADDITION),
    refused("add_before_body", HSL, ONE, ADDITION),
    refused("add_after_body", HSL, ONE, ADDITION),
];
