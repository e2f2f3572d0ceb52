package dev.baton.peer;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;

/**
 * Proves the cluster secret on every call between router and workers, both ways, and refuses calls
 * without the proof before a message of theirs is read.
 *
 * <p>The proof is the same on every call of a direction, so whoever can read the network can use
 * it: where that is not trusted, peers have to speak through TLS of a mesh or a tunnel. It keeps
 * out what a wrong address, another cluster or another user of the machine would send.
 */
public final class PeerAuthentication {

  private static final Metadata.Key<String> PROOF =
      Metadata.Key.of("baton-peer", Metadata.ASCII_STRING_MARSHALLER);

  private static final String PURPOSE = "baton peer 1";

  private final String proof;

  public PeerAuthentication(ClusterSecret secret) {
    this.proof = secret.proof(PURPOSE);
  }

  /** Adds the proof to every call of a channel. */
  public ClientInterceptor client() {
    return new ClientInterceptor() {
      @Override
      public <Q, A> ClientCall<Q, A> interceptCall(
          MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
          @Override
          public void start(Listener<A> listener, Metadata headers) {
            headers.put(PROOF, proof);
            super.start(listener, headers);
          }
        };
      }
    };
  }

  /** Refuses calls without the proof, with UNAUTHENTICATED. */
  public ServerInterceptor server() {
    return new ServerInterceptor() {
      @Override
      public <Q, A> ServerCall.Listener<Q> interceptCall(
          ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
        String given = headers.get(PROOF);
        if (given != null && same(given)) {
          return next.startCall(call, headers);
        }
        call.close(
            Status.UNAUTHENTICATED.withDescription(
                given == null
                    ? "cluster secret: none (expected: that of this cluster)"
                    : "cluster secret: another (expected: that of this cluster)"),
            new Metadata());
        return new ServerCall.Listener<>() {};
      }
    };
  }

  private boolean same(String given) {
    return MessageDigest.isEqual(
        given.getBytes(StandardCharsets.US_ASCII), proof.getBytes(StandardCharsets.US_ASCII));
  }
}
