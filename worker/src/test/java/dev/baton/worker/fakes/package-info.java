/**
 * Hand-written stand-ins for what a worker stands on: engine, transfer, clock, calls, router. Also
 * used by the tests of the services, through this module's test jar.
 */
package dev.baton.worker.fakes;
