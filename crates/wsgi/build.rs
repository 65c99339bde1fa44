//! Puts the run path of a shared libpython into the binary, so that the loader finds it (pyenv, /opt builds).
//! An extension module is loaded by a Python that is there already, and gets none.
fn main() {
    pyo3_build_config::use_pyo3_cfgs();
    println!("cargo:rerun-if-env-changed=PYO3_BUILD_EXTENSION_MODULE");
    if std::env::var_os("PYO3_BUILD_EXTENSION_MODULE").is_none() {
        pyo3_build_config::add_libpython_rpath_link_args();
    }
}
