import Foundation

/// A Slurm of its own on this machine: munged, slurmctld and a slurmd for each node, in a temporary directory.
///
/// All its processes live in a PID namespace whose first process reads a pipe from here. Whatever happens to the tests, the
/// pipe ends with them, the first process with the pipe, and the kernel ends all others in the namespace with that one.
final class SlurmCluster {
    let folder: URL
    private let process = Process()
    private let lifeline = Pipe()
    private let deadline = ContinuousClock.now + .seconds(240)

    /// Why there can be none on this machine; nil when there can.
    static let obstacle: String? = {
        if geteuid() != 0 { return "Slurm's daemons want to be started as root" }
        let missing = ["munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol"].filter { program in
            !["/usr/sbin", "/usr/bin"].contains { FileManager.default.isExecutableFile(atPath: "\($0)/\(program)") }
        }
        if !missing.isEmpty { return "there is no \(missing.joined(separator: ", ")): run deploy/setup.sh test" }
        guard let namespace = try? ShellCommand(["unshare", "--fork", "--pid", "--mount-proc", "true"]),
            namespace.status == 0
        else { return "this machine lets nobody make PID namespaces" }
        return nil
    }()

    init(nodes: Int) throws {
        // Short: it holds sockets.
        folder = URL(fileURLWithPath: "/tmp/slurm-\(UInt32.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for name in ["state"] + (1...nodes).map({ "node\($0)" }) {
            try FileManager.default.createDirectory(at: folder.appending(path: name), withIntermediateDirectories: true)
        }
        let key = Data((0..<1_024).map { _ in UInt8.random(in: 0 ... .max) })
        try key.write(to: folder.appending(path: "munge.key"))
        chmod(folder.appending(path: "munge.key").path, 0o400)
        try Self.configuration(folder: folder.path, ports: Self.freePorts(nodes + 1)).write(
            to: folder.appending(path: "slurm.conf"), atomically: true, encoding: .utf8)
        let daemons =
            [
                "munged --foreground --socket=munge.socket --key-file=munge.key --pid-file=munge.pid --seed-file=munge.seed"
            ]
            + ["slurmctld -D -i -f \"$SLURM_CONF\""] + (1...nodes).map { "slurmd -D -f \"$SLURM_CONF\" -N node\($0)" }
        let script =
            "cd \"$1\"\n" + daemons.map { "\($0) >>daemons.log 2>&1 </dev/null &\n" }.joined() + "exec cat >/dev/null"
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "unshare", "--fork", "--pid", "--mount-proc", "--kill-child", "sh", "-c", script, "sh", folder.path,
        ]
        process.environment = environment
        process.standardInput = lifeline
        try RunningProgram.withoutBlockedSignals { try process.run() }
        // The reading end is the cluster's alone, and this end must not be inherited by what the tests start.
        _ = fcntl(lifeline.fileHandleForWriting.fileDescriptor, F_SETFD, FD_CLOEXEC)
        while try run(["sinfo", "-h", "-N", "-o", "%T"]).output.split(separator: "\n")
            != Array(repeating: "idle", count: nodes)
        {
            try wait("the nodes are not idle")
        }
    }

    deinit {
        try? lifeline.fileHandleForWriting.close()
        process.waitUntilExit()
        try? FileManager.default.removeItem(at: folder)
    }

    /// Ours, with this cluster, and the programs that are built beside the tests.
    var environment: [String: String] {
        var variables = ProcessInfo.processInfo.environment.filter {
            !$0.key.hasPrefix("MOE_") && !$0.key.hasPrefix("SLURM_")
        }
        variables["SLURM_CONF"] = folder.appending(path: "slurm.conf").path
        let programs = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let path = [
            URL(fileURLWithPath: programs).deletingLastPathComponent().path, variables["PATH"] ?? "", "/usr/sbin",
        ]
        variables["PATH"] = path.joined(separator: ":")
        // Nodes that are one machine.
        variables["OMPI_MCA_btl_tcp_if_include"] = "lo"
        variables["OMPI_MCA_mpi_yield_when_idle"] = "1"
        return variables
    }

    /// Runs one of Slurm's commands, or another.
    func run(_ command: [String], variables: [String: String] = [:]) throws -> (status: Int32, output: String) {
        let command = try ShellCommand(command, environment: environment.merging(variables) { $1 }, directory: folder)
        return (command.status, command.output)
    }

    /// Submits a job. Returns its number.
    func submit(_ arguments: [String], variables: [String: String] = [:]) throws -> String {
        let result = try run(["sbatch", "--parsable"] + arguments, variables: variables)
        guard result.status == 0 else { throw Failure(text: "sbatch: \(result.output)") }
        return result.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// A file that jobs wrote where they were submitted.
    func text(_ name: String) throws -> String {
        try String(contentsOf: folder.appending(path: name), encoding: .utf8)
    }

    /// What Slurm knows of a job.
    func job(_ id: String) throws -> [Substring: Substring] {
        let words = try run(["scontrol", "-o", "show", "job", id]).output.split(whereSeparator: \.isWhitespace)
        let pairs = words.compactMap { word in
            word.firstIndex(of: "=").map { (word[..<$0], word[word.index(after: $0)...]) }
        }
        return Dictionary(pairs) { first, _ in first }
    }

    /// Waits until a job is over. Returns its last state.
    func waitForEnd(of job: String) throws -> Substring? {
        var state: Substring?
        try wait(for: "job \(job) does not end") {
            state = try self.job(job)["JobState"]
            return !["PENDING", "RUNNING", "COMPLETING", "REQUEUED"].contains(state)
        }
        return state
    }

    /// Waits until `condition` holds, which looks again and again.
    func wait(for what: String, until condition: () throws -> Bool) throws {
        while try !condition() { try wait(what) }
    }

    private func wait(_ what: String) throws {
        guard ContinuousClock.now < deadline, process.isRunning else {
            let log = try? run(["sh", "-c", "tail -n 50 *log"]).output
            throw Failure(text: "\(what)\n\(log ?? "")")
        }
        usleep(20_000)
    }

    struct Failure: Error, CustomStringConvertible {
        let text: String
        var description: String { text }
    }

    private static func freePorts(_ count: Int) throws -> [UInt16] {
        let sockets = (0..<count).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
        defer { for socket in sockets { close(socket) } }
        return sockets.map { socket in
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = INADDR_LOOPBACK.bigEndian
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                    _ = bind(socket, pointer, length)
                    _ = getsockname(socket, pointer, &length)
                }
            }
            return UInt16(bigEndian: address.sin_port)
        }
    }

    private static func configuration(folder: String, ports: [UInt16]) throws -> String {
        let host = try ShellCommand(["hostname", "-s"]).output.trimmingCharacters(in: .whitespacesAndNewlines)
        let nodes = ports.dropFirst().enumerated().map { index, port in
            "NodeName=node\(index + 1) NodeHostname=\(host) NodeAddr=127.0.0.1 Port=\(port) CPUs=2 State=UNKNOWN"
        }
        // Credentials that expire soon, and a scheduler that looks often, let a job start again within seconds.
        return """
            ClusterName=test
            SlurmctldHost=\(host)(127.0.0.1)
            SlurmctldPort=\(ports[0])
            SlurmUser=root
            AuthType=auth/munge
            CryptoType=crypto/munge
            AuthInfo=socket=\(folder)/munge.socket,cred_expire=5
            StateSaveLocation=\(folder)/state
            SlurmdSpoolDir=\(folder)/%n
            SlurmctldPidFile=\(folder)/slurmctld.pid
            SlurmdPidFile=\(folder)/%n.pid
            SlurmdLogFile=\(folder)/%n.log
            TmpFS=\(folder)/%n
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            SwitchType=switch/none
            MpiDefault=none
            MailProg=/bin/true
            SelectType=select/cons_tres
            SelectTypeParameters=CR_CPU
            SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0
            ReturnToService=2
            KillWait=10
            \(nodes.joined(separator: "\n"))
            PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP

            """
    }
}
