import CGlibc
import ControlProtocol
import Foundation

/// All clients, in one thread. Each sends a report when the one before was answered and its turn comes.
final class Connections {
    private struct Client {
        let channel: Channel
        var frame: [UInt8]
        /// Where the numbers stand in `frame`: the request's, and the reports'.
        let places: [(place: Int, offset: Int)]
        var frames = 0
        var acknowledged = 0
        var sentAt = 0.0
    }

    private let load: Load
    /// Of a frame.
    private let reports: Int
    private var clients: [Client] = []
    /// Those with nothing to wait for, longest first.
    private var idle: [Int]
    private let queue = epoll_create1(0)
    private var buffer = [UInt8](repeating: 0, count: 1 << 16)

    init(_ load: Load, to server: ServerProcess, reports: Int) throws {
        self.load = load
        self.reports = reports
        idle = Array(0..<load.clients)
        for number in 0..<load.clients {
            let channel = try Channel(port: server.port, key: server.key)
            let frame = try Array(load.frame(number, reports: reports))
            let places = (0..<reports).flatMap { offset in
                let digits = Array("\(Load.number + offset)".utf8)
                return frame.indices.filter { frame[$0...].starts(with: digits) }.map { ($0, offset) }
            }
            clients.append(Client(channel: channel, frame: frame, places: places))
            var event = epoll_event()
            event.events = EPOLLIN.rawValue
            event.data.u64 = UInt64(number)
            epoll_ctl(queue, EPOLL_CTL_ADD, channel.descriptor, &event)
        }
    }

    deinit { close(queue) }

    /// By run, for each rank: the highest sequence that was acknowledged.
    var acknowledgedSequences: [String: [Int]] {
        Dictionary(
            clients.enumerated().map { (load.run(of: $0.offset), [$0.element.acknowledged]) }, uniquingKeysWith: +)
    }

    /// Registers all runs and workers over the first connection.
    func register() throws {
        for (id, request) in load.registrations().enumerated() {
            try clients[0].channel.send(Array(frame(request, id)))
            while true {
                guard let answer = try clients[0].channel.receive(&buffer, mayWait: true) else { continue }
                let text = String(decoding: answer.dropFirst(4), as: UTF8.self)
                guard text.contains("registered\"") else { throw BenchmarkError("refused: \(text)") }
                break
            }
        }
    }

    private func frame(_ request: some ControlRequest, _ id: Int) throws -> Data {
        try MessageCodec.frame(request, requestID: id)
    }

    /// Sends reports for so long, and waits for the last answers.
    func measure(seconds: Double, warmUp: Double = 1) throws -> Figures {
        var figures = Figures()
        let start = Self.now + warmUp
        let end = start + seconds
        var waiting = 0
        var next = 0
        var events = [epoll_event](repeating: epoll_event(), count: 512)
        while true {
            let now = Self.now
            while now < end, waiting * reports < load.inFlight, next < idle.count {
                try sendReport(idle[next])
                next += 1
                waiting += 1
            }
            if next > 1 << 16 || next == idle.count {
                idle.removeFirst(next)
                next = 0
            }
            if waiting == 0 { break }
            let count = epoll_wait(queue, &events, Int32(events.count), 10_000)
            guard count > 0 else { throw BenchmarkError("no answer within ten seconds") }
            for event in events[..<Int(count)] {
                let client = Int(event.data.u64)
                guard try receiveAnswer(client) else { continue }
                waiting -= 1
                idle.append(client)
                let time = Self.now
                if time >= start, time < end { figures.record(time - clients[client].sentAt) }
            }
        }
        figures.seconds = seconds
        figures.reports = reports
        return figures
    }

    private func sendReport(_ client: Int) throws {
        let first = Load.number + clients[client].frames * reports
        clients[client].frames += 1
        for (place, offset) in clients[client].places {
            let digits = "\(first + offset)".utf8
            clients[client].frame.replaceSubrange(place..<place + digits.count, with: digits)
        }
        clients[client].sentAt = Self.now
        try clients[client].channel.send(clients[client].frame)
    }

    /// - Returns: whether the answer is whole.
    private func receiveAnswer(_ client: Int) throws -> Bool {
        guard let answer = try clients[client].channel.receive(&buffer) else { return false }
        // The echo of a report, or its acknowledgement.
        guard answer == clients[client].frame || answer.firstRange(of: Self.acknowledgement) != nil else {
            throw BenchmarkError("refused: \(String(decoding: answer.dropFirst(4), as: UTF8.self))")
        }
        clients[client].acknowledged = Load.number + clients[client].frames * reports - 1
        return true
    }

    private static let acknowledgement = Array("\"acknowledged\"".utf8)

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
