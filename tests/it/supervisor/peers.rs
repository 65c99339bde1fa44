//! supervisord's world against ours: stock supervisorctl with our daemon, our command with stock supervisord, the whole
//! RPC interface through Python's client, superlance's listeners.

mod ansible;
mod away;
mod ctl;
mod lanes;
mod listeners;
mod rpc;
mod servers;
mod streams;
mod web;
