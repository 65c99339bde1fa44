//! Under load: parts are killed, replaced and reloaded while clients ask, and every request is accounted for.
//! A replacement that drains, and the death of the supervisor's brain, may fail no request at all. A kill may fail
//! only requests that were in flight inside the killed process.

mod journal;
mod kills;
mod replacements;

use std::time::Duration;

use e2e::load::{Load, Mix};
use e2e::site::Site;

const CONNECTIONS: usize = 8;

/// Quick answers, answers that take their time, and posts with bodies of many sizes.
fn mix() -> Mix {
    Mix {
        connections: CONNECTIONS,
        gets: vec!["/hello?{id}", "/slow?ms=50&{id}", "/hello?again&{id}"],
        post: Some("/echo"),
        pause: Duration::from_millis(1),
        close: false,
    }
}

/// Load on the site, already flowing.
fn flowing(site: &Site) -> Load {
    let load = Load::start(site.address, &mix());
    load.wait_for_more(100);
    load
}
