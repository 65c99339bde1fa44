//! Puts the run path of a shared libpython into the binary, so that the loader finds it (pyenv, /opt builds).
fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    pyo3_build_config::add_libpython_rpath_link_args();
}
