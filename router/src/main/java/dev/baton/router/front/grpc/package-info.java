/** The public gRPC front. */
@org.jspecify.annotations.NullMarked
package dev.baton.router.front.grpc;
