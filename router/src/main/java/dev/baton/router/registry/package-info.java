/**
 * Who can work: the workers that report to this router, their pools, their load, and the models
 * they serve. {@link dev.baton.router.registry.WorkerDirectory} is the state, {@link
 * dev.baton.router.registry.RegistryService} its gRPC face.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.router.registry;
