/**
 * What every worker process has, whatever its role: {@link dev.baton.worker.Worker} is the door.
 *
 * <p>Subpackages: {@code step} (the thread that owns the engine), {@code session} (sessions of this
 * process, their streams and deadlines), {@code registry} (the stream to the router), {@code
 * control} (drain and status calls), {@code metrics}, {@code wire} (protobuf to engine and back).
 *
 * <p>The services of the roles stand on the floor above; they are handed a {@link
 * dev.baton.worker.WorkerContext}.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.worker;
