;; What every test guest has: memory, an allocator that never frees, describe, and the way into $run.
;; The loader puts the guest's own text at ITEMS, and its imports at IMPORTS.
(module
  (import "transom:common/io@0.1.0" "[method]reader.read" (func $read (param i32 i32 i32)))
  (import "transom:common/io@0.1.0" "[method]writer.write" (func $write (param i32 i32 i32 i32)))
  (import "transom:common/log@0.1.0" "log" (func $log (param i32 i32 i32)))
  (import "transom:common/io@0.1.0" "[resource-drop]reader" (func $drop-reader (param i32)))
  (import "transom:common/io@0.1.0" "[resource-drop]writer" (func $drop-writer (param i32)))
  IMPORTS
  (memory (export "memory") 64)
  (global $next (mut i32) (i32.const 65536))
  (global $job (mut i32) (i32.const 0))

  ;; The outcome at 512: ok, no annotations, no findings, continue. An error can be put at 640.
  (data (i32.const 1024) "guest0.1.0application/vnd.oci.image.layer.v1.tar")
  (data (i32.const 2048) "\00\04\00\00\05\00\00\00\05\04\00\00\05\00\00\00\20\08\00\00\01\00\00\00")
  (data (i32.const 2080) "\0a\04\00\00\26\00\00\00\0a\04\00\00\26\00\00\00")

  (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
    (global.set $next (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  (func (export "transom:processor/stage@0.1.0#describe") (result i32)
    (call $describe))

  ;; The job is at the pointer; the two handles follow it.
  (func (export "transom:processor/stage@0.1.0#run") (param $arguments i32) (result i32)
    (local $input i32) (local $output i32)
    (global.set $job (local.get $arguments))
    (local.set $input (i32.load offset=80 (local.get $arguments)))
    (local.set $output (i32.load offset=84 (local.get $arguments)))
    (call $run (local.get $input) (local.get $output))
    (call $give-back (local.get $input) (local.get $output)))

  ;; What was lent must be given back before the end of a call.
  (func $give-back (param $reader i32) (param $writer i32)
    (if (i32.load8_u (i32.const 700)) (then (return)))
    (call $drop-reader (local.get $reader))
    (call $drop-writer (local.get $writer)))

  ITEMS)
