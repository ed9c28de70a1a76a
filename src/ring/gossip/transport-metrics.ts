// Metrics of gossip's connections, by Tempo's names.
import type { Counter, Metrics } from '../../telemetry/metrics.ts';

export class TransportMetrics {
  readonly packetsReceived: Counter;
  readonly packetsReceivedBytes: Counter;
  readonly packetsReceivedErrors: Counter;
  readonly packetsSent: Counter;
  readonly packetsSentBytes: Counter;
  readonly packetsSentErrors: Counter;
  readonly packetsDropped: Counter;
  readonly incomingStreams: Counter;
  readonly outgoingStreams: Counter;
  readonly outgoingStreamErrors: Counter;
  readonly connectionsRefused: Counter;

  constructor(metrics: Metrics) {
    const counter = (name: string, help: string): Counter =>
      metrics.counter(`tempo_memberlist_tcp_transport_${name}`, help);
    this.packetsReceived = counter('packets_received_total', 'Packets of gossip that came.');
    this.packetsReceivedBytes = counter('packets_received_bytes_total', 'Bytes of these.');
    this.packetsReceivedErrors = counter('packets_received_errors_total', 'Packets that were damaged.');
    this.packetsSent = counter('packets_sent_total', 'Packets of gossip that were sent.');
    this.packetsSentBytes = counter('packets_sent_bytes_total', 'Bytes of these.');
    this.packetsSentErrors = counter('packets_sent_errors_total', 'Packets that could not be sent.');
    this.packetsDropped = counter(
      'packets_dropped_total',
      'Packets that were not sent because too many others were, or for their size.',
    );
    this.incomingStreams = counter('incoming_streams_total', 'Exchanges of states that others began.');
    this.outgoingStreams = counter('outgoing_streams_total', 'Exchanges of states that were begun.');
    this.outgoingStreamErrors = counter('outgoing_stream_errors_total', 'Of these, those that failed.');
    this.connectionsRefused = counter(
      'connections_refused_total',
      'Connections that were one too many, too large, or spoke something unknown.',
    );
  }
}
