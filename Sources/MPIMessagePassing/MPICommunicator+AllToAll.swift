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

    /// Sends and receives the blocks of other ranks. Receives are posted first, so that no message waits in a buffer, and each
    /// rank begins with its neighbour, so that not all send to one.
    private func exchange<Element: MessageElement>(
        _ source: UnsafeBufferPointer<Element>, _ leaving: BlockLayout,
        _ target: UnsafeMutableBufferPointer<Element>, _ arriving: BlockLayout
    ) throws(CommunicatorError) {
        let type = Element.messageType.handle
        var requests = [MPI_Request?]()
        var expected = [(rank: Int, count: Int)]()
        for distance in 1..<max(size, 1) {
            let other = (rank + size - distance) % size
            for part in parts(of: arriving.counts[other]) {
                var request = cmpi_request_null()
                try check(
                    MPI_Irecv(
                        target.baseAddress.map { $0 + arriving.offsets[other] + part.lowerBound }, Int32(part.count),
                        type, Int32(other), Self.tag, handle, &request),
                    "MPI_Irecv")
                requests.append(request)
                expected.append((other, part.count))
            }
        }
        for distance in 1..<max(size, 1) {
            let other = (rank + distance) % size
            for part in parts(of: leaving.counts[other]) {
                var request = cmpi_request_null()
                try check(
                    MPI_Isend(
                        source.baseAddress.map { $0 + leaving.offsets[other] + part.lowerBound }, Int32(part.count),
                        type, Int32(other), Self.tag, handle, &request),
                    "MPI_Isend")
                requests.append(request)
            }
        }
        if requests.isEmpty { return }
        var statuses = [MPI_Status](repeating: MPI_Status(), count: requests.count)
        let code = MPI_Waitall(Int32(requests.count), &requests, &statuses)
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
                throw .mismatch(
                    call: "allToAll", reason: "\(count) entries were expected from rank \(other), \(arrived) came")
            }
        }
    }

    /// Only these messages travel from rank to rank, and MPI keeps those of one pair in order: one tag does.
    private static var tag: Int32 { 1 }
}
