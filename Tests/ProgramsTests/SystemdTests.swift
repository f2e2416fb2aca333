import Foundation
import Testing

/// The package on a machine with a systemd: the units as they are, with all that they forbid.
@Suite(
    .serialized,
    .enabled(
        if: SystemdMachine.obstacle == nil && DebianPackage.obstacle == nil,
        Comment(rawValue: "no machine here: \(SystemdMachine.obstacle ?? DebianPackage.obstacle ?? "")")))
struct SystemdTests {
    private let inputs: WorkerInputs

    init() throws { inputs = try WorkerInputs() }

    /// Puts data where the packaged configuration has it, and makes runs short.
    private func preparation() -> String {
        """
        shared=/var/lib/moe/shared
        install -d -o moe -g moe $shared/data $shared/model
        cp /tmp/*.bin /tmp/meta.json $shared/data
        cp /tmp/config.json $shared/model
        cat >>/etc/moe/worker.env <<END
        MOE_BATCH_SIZE=4
        MOE_SEQUENCE_LENGTH=8
        MOE_REPORT_INTERVAL=2
        OMPI_MCA_mpi_yield_when_idle=1
        # The only interface there is, which Open MPI leaves out by itself.
        OMPI_MCA_btl_tcp_if_include=lo
        END
        # Logs, for there is no journal.
        for unit in moe-coordinator moe-mpi-server moe-worker@; do
            mkdir -p /etc/systemd/system/$unit.service.d
            printf '[Service]\\nStandardOutput=append:/run/moe.log\\nStandardError=append:/run/moe.log\\n' \\
                >/etc/systemd/system/$unit.service.d/log.conf
        done

        """
    }

    @Test func thePackageServesAndTrains() throws {
        try FileManager.default.copyItem(
            at: DebianPackage.shared.get().file, to: inputs.folder.appending(path: "package.deb"))
        let machine = try SystemdMachine(
            files: inputs.folder,
            preparation: preparation() + """
                drop_in() {
                    mkdir -p /etc/systemd/system/moe-worker@$1.service.d
                    cat >/etc/systemd/system/moe-worker@$1.service.d/job.conf
                }
                # A job without end of two ranks that find each other, and a short one of two that share memory, under the
                # rules of one unit.
                for rank in 0 1; do
                    drop_in $rank <<END
                [Service]
                Environment=MOE_RUN=one MOE_WORLD_SIZE=2 MOE_STEPS=1000000 MOE_METRICS=$shared/one.jsonl
                END
                done
                drop_in two <<END
                [Service]
                Environment=MOE_RUN=two MOE_STEPS=20 MOE_METRICS=$shared/two.jsonl MOE_CHECKPOINT_DIRECTORY=$shared/two
                ExecStart=
                ExecStart=/usr/bin/mpirun -n 2 --oversubscribe --mca btl vader,self moe-worker --config /etc/moe/worker.yaml
                END
                # A checkpoint that takes long.
                drop_in slow <<END
                [Service]
                ExecStart=
                ExecStart=/bin/sleep infinity
                ExecStop=/bin/sleep 5
                END
                systemctl enable moe-coordinator moe-mpi-server moe-worker@0 moe-worker@1 moe-worker@two moe-worker@slow

                """)
        func property(_ name: String, _ unit: String) throws -> String {
            try machine.run("systemctl show -P \(name) \(unit)").output.trimmingCharacters(in: .newlines)
        }
        func log() throws -> String { try machine.run("cat /run/moe.log").output }

        try machine.wait(
            for: "the short job does not end",
            until: "moe-ctl run show two -o json | grep -q '\"completed\"' && ! systemctl -q is-active moe-worker@two")
        let text = try log()
        #expect(try property("Result", "moe-worker@two") == "success", "\(text)")
        #expect(text.contains("2 ranks, 1 thread a rank"), "\(text)")
        // What is forbidden is nothing that somebody misses.
        for complaint in ["ot permitted", "denied", "cannot", "ailed"] { #expect(!text.contains(complaint), "\(text)") }
        #expect(try machine.run("wc -l </var/lib/moe/shared/two.jsonl").output == "20\n")
        #expect(try machine.run("systemctl is-active moe-coordinator moe-mpi-server").output == "active\nactive\n")
        #expect(try property("StatusText", "moe-coordinator") == "Ready.")
        #expect(try machine.run("grep -c tcp /var/lib/moe/shared/mpi-server.uri").status == 0)

        // Ranks that were asked to stop by somebody else than systemd start again.
        func restarts(_ count: Int) -> String {
            "[ $(systemctl show -P NRestarts moe-worker@0) = \(count) ] "
                + "&& [ $(systemctl show -P NRestarts moe-worker@1) = \(count) ]"
        }
        let steps = "wc -l </var/lib/moe/shared/one.jsonl"
        func waitForSteps() throws {
            let before = try #require(Int(machine.run(steps).output.trimmingCharacters(in: .newlines)))
            try machine.wait(for: "the long job does not go on", until: "[ $(\(steps)) -ge \(before + 10) ]")
        }
        try machine.wait(for: "the long job does not begin", until: "[ $(\(steps)) -ge 10 ]")
        #expect(try machine.run("systemctl kill --kill-who=main --signal=TERM moe-worker@1").status == 0)
        try machine.wait(for: "the ranks do not start again", until: restarts(1))
        try waitForSteps()
        // By systemd, they do not; the others wait for them.
        #expect(try machine.run("systemctl stop moe-worker@0").status == 0)
        #expect(try property("ExecMainStatus", "moe-worker@0") == "75")
        #expect(try property("Result", "moe-worker@0") == "success")
        #expect(try property("ActiveState", "moe-worker@0") == "inactive")
        // Each step once.
        let numbers = try machine.run("sed 's/.*\"step\":\\([0-9]*\\).*/\\1/' /var/lib/moe/shared/one.jsonl").output
        let done = numbers.split(separator: "\n").compactMap { Int($0) }
        #expect(done == Array(1...max(1, done.count)), "\(numbers)")
        // One that dies ends the others with it, and all go on from the checkpoint.
        #expect(try machine.run("systemctl start moe-worker@0").status == 0)
        try waitForSteps()
        let restarted = try Int(property("NRestarts", "moe-worker@0")) ?? 0
        #expect(try machine.run("kill -KILL $(systemctl show -P MainPID moe-worker@1)").status == 0)
        try machine.wait(
            for: "rank 0 does not start again",
            until: "[ $(systemctl show -P NRestarts moe-worker@0) -gt \(restarted) ]")
        try waitForSteps()

        // One that dies comes back, with what it knew.
        let process = try property("MainPID", "moe-coordinator")
        #expect(try machine.run("kill -KILL \(process)").status == 0)
        try machine.wait(
            for: "the coordinator does not come back",
            until: "moe-ctl run show two && [ $(systemctl show -P MainPID moe-coordinator) != \(process) ]")

        #expect(
            try machine.run("systemctl stop moe.target && systemctl show -P Result moe-coordinator").output
                == "success\n")
        let removed = try machine.run("dpkg --purge moe-training 2>&1")
        #expect(removed.status == 0, "\(removed.output)")
        // The package goes when all that it was running has ended.
        #expect(try property("ActiveState", "moe-worker@slow") == "inactive")
        #expect(try machine.run("ls /etc/moe /lib/systemd/system/moe*").status != 0)
        #expect(try machine.run("[ -e /var/lib/moe/moe.db ] && [ -d /var/lib/moe/shared/two/step-20 ]").status == 0)
    }
}
