//! A network between a test's runs and its database.

use dunlin_testkit::proxy::{Proxy, Trap};
use tokio::runtime::Runtime;

use super::world::World;

/// A proxy that works beside the test.
pub(crate) struct Beside {
    pub(crate) runtime: Runtime,
    pub(crate) proxy: Proxy,
}

impl Beside {
    /// Puts a proxy between a world's runs and its database.
    pub(crate) fn of(world: &mut World) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let proxy = runtime.block_on(Proxy::in_front_of(&world.database.url)).expect("a proxy");
        // What is looked for in the stream has to be readable.
        world.url = format!("{}?sslmode=disable", proxy.through(&world.database.url));
        Self { runtime, proxy }
    }

    pub(crate) fn arm(&self, trap: Trap) {
        // Traps need the proxy's runtime only once they spring.
        let _guard = self.runtime.enter();
        self.proxy.arm(trap);
    }
}
