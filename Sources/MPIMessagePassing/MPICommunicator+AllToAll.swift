import CMPI
import MessagePassing

extension MPICommunicator {
    /// As `MPI_Alltoallv`, of point-to-point messages: blocks without entries cost nothing, which the exchanges between a
    /// few ranks of many need, and blocks may be larger than a C int can count.
    public func allToAll<Element: MessageElement>(
        _ values: Span<Element>, sendCounts: [Int],
        into received: inout MutableSpan<Element>, receiveCounts: [Int]
    ) throws {
        let leaving = try BlockLayout(sendCounts, size: size, entries: values.count, call: "allToAll")
        let arriving = try BlockLayout(receiveCounts, size: size, entries: received.count, call: "allToAll")
        guard sendCounts[rank] == receiveCounts[rank] else {
            throw CommunicatorError.invalidArgument(
                call: "allToAll",
                reason: "\(sendCounts[rank]) entries go to the own rank, which expects \(receiveCounts[rank])")
        }
        try values.withUnsafeBufferPointer { source in
            try received.withUnsafeMutableBufferPointer { target in
                if sendCounts[rank] > 0 {
                    let place = arriving.offsets[rank]..<arriving.offsets[rank] + receiveCounts[rank]
                    let from = leaving.offsets[rank]..<leaving.offsets[rank] + sendCounts[rank]
                    _ = UnsafeMutableBufferPointer(rebasing: target[place])
                        .update(from: UnsafeBufferPointer(rebasing: source[from]))
                }
                try exchange(source, leaving, target, arriving)
            }
        }
    }

    /// Messages from and to where the blocks lie: nothing is copied on this side.
    public func exchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>]
    ) throws {
        // The caller keeps the memory.
        try startExchange(outgoing, incoming, keeping: ()).wait()
    }

    public func startExchange<Element: MessageElement>(
        _ outgoing: [OutgoingBlock<Element>], _ incoming: [IncomingBlock<Element>], keeping memory: Any
    ) throws -> any PendingExchange {
        try checkRanks(outgoing, incoming)
        return try transfer(
            sends: outgoing.map { ($0.rank, $0.entries) }, receives: incoming.map { ($0.rank, $0.entries) },
            call: "exchange", keeping: memory)
    }

    /// Open MPI moves messages within its calls alone: this is one that looks for a message that nobody sends.
    public func progress() throws {
        var found: Int32 = 0
        try check(MPI_Iprobe(cmpi_any_source(), Self.tag + 1, handle, &found, cmpi_status_ignore()), "MPI_Iprobe")
    }

    /// Sends and receives the blocks of other ranks.
    private func exchange<Element: MessageElement>(
        _ source: UnsafeBufferPointer<Element>, _ leaving: BlockLayout,
        _ target: UnsafeMutableBufferPointer<Element>, _ arriving: BlockLayout
    ) throws {
        func place(_ layout: BlockLayout, _ rank: Int) -> Range<Int> {
            layout.offsets[rank]..<layout.offsets[rank] + layout.counts[rank]
        }
        try transfer(
            sends: otherRanks.map { ($0, UnsafeBufferPointer(rebasing: source[place(leaving, $0)])) },
            // In the order in which they send to this rank.
            receives: otherRanks.reversed().map {
                ($0, UnsafeMutableBufferPointer(rebasing: target[place(arriving, $0)]))
            }, call: "allToAll", keeping: ()
        ).wait()
    }

    /// Receives are posted first, so that no message waits in a buffer.
    private func transfer<Element: MessageElement>(
        sends: [(rank: Int, entries: UnsafeBufferPointer<Element>)],
        receives: [(rank: Int, entries: UnsafeMutableBufferPointer<Element>)], call: String, keeping memory: Any
    ) throws(CommunicatorError) -> MPIExchange {
        let type = Element.messageType.handle
        let exchange = MPIExchange(type: type, call: call, memory: memory)
        for (other, entries) in receives {
            for part in parts(of: entries.count) {
                var request = cmpi_request_null()
                try check(
                    MPI_Irecv(
                        entries.baseAddress.map { $0 + part.lowerBound }, Int32(part.count), type, Int32(other),
                        Self.tag, handle, &request),
                    "MPI_Irecv")
                exchange.requests.append(request)
                exchange.expected.append((other, part.count))
            }
        }
        for (other, entries) in sends {
            for part in parts(of: entries.count) {
                var request = cmpi_request_null()
                try check(
                    MPI_Isend(
                        entries.baseAddress.map { $0 + part.lowerBound }, Int32(part.count), type, Int32(other),
                        Self.tag, handle, &request),
                    "MPI_Isend")
                exchange.requests.append(request)
            }
        }
        return exchange
    }

    /// Only these messages travel from rank to rank. All ranks begin them in one order, in which MPI keeps those of a pair: one tag
    /// does.
    private static var tag: Int32 { 1 }
}

/// Messages that are under way.
private final class MPIExchange: PendingExchange {
    /// Receives first.
    fileprivate var requests = [MPI_Request?]()
    fileprivate var expected = [(rank: Int, count: Int)]()
    private let type: MPI_Datatype?
    private let call: String
    private var memory: Any?

    init(type: MPI_Datatype?, call: String, memory: Any) {
        self.type = type
        self.call = call
        self.memory = memory
    }

    deinit {
        // Nobody waited, or in vain, for the job ends with an error. MPI may write here until it has.
        if !requests.isEmpty, let memory { _ = Unmanaged.passRetained(memory as AnyObject) }
    }

    func wait() throws {
        var statuses = [MPI_Status](repeating: MPI_Status(), count: requests.count)
        let code = requests.isEmpty ? 0 : MPI_Waitall(Int32(requests.count), &requests, &statuses)
        if code == 0 { (requests, memory) = ([], nil) }
        if code == cmpi_error_in_status() {
            // Requests that neither failed nor ended say nothing of the cause.
            for status in statuses where status.MPI_ERROR != cmpi_error_pending() {
                try check(status.MPI_ERROR, "MPI_Waitall")
            }
        }
        try check(code, "MPI_Waitall")
        for ((other, count), status) in zip(expected, statuses) {
            var status = status
            var arrived: Int32 = 0
            try check(MPI_Get_count(&status, type, &arrived), "MPI_Get_count")
            guard Int(arrived) == count else {
                throw CommunicatorError.mismatch(
                    call: call, reason: "\(count) entries were expected from rank \(other), \(arrived) came")
            }
        }
    }
}
